package logs

import (
	"context"
	"time"

	"kdiag/kube"
)

const (
	// silenceTick is the time between two looks at whether a stream brings anything.
	silenceTick = 5 * time.Second
	// silentTicks is how many of them may bring nothing before the log's end is looked at.
	silentTicks = 4
	// silenceTimeout bounds one such look.
	silenceTimeout = 4 * time.Second
)

// watchSilence looks whether a stream that is open brings what the container logs, until
// ctx ends. If not, it cancels the stream: something on the way may have forgotten it, or
// the node's clock was set back, and the time that the stream began with hides new lines.
func (s *logSource) watchSilence(ctx context.Context, cancel context.CancelFunc) {
	ticker := time.NewTicker(silenceTick)
	defer ticker.Stop()

	before, ticks, missed := s.arrived.Load(), 0, int64(0)
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}

		if came := s.arrived.Load(); came != before {
			before, ticks, missed = came, 0, 0
			continue
		}
		if ticks++; ticks < silentTicks && missed == 0 {
			continue
		}

		last := s.findMissed(ctx, before)
		if missed != 0 && last != 0 {
			s.silent.Store(last)
			cancel()
			return
		}
		ticks, missed = 0, last
	}
}

// findMissed returns the time of the container's last line if the stream has not brought
// it, or has not brought the position before it; else 0.
func (s *logSource) findMissed(ctx context.Context, came int64) int64 {
	ctx, cancel := kube.WithTimeout(ctx, silenceTimeout)
	defer cancel()

	end, err := s.readEnd(ctx, kube.LogRequest{})
	seen := end.last.at == s.lastSeen.Load() && !s.searching.Load()
	if err != nil || seen || s.arrived.Load() != came {
		return 0
	}

	return end.last.at
}

// reopenSilent decides how a stream that brought nothing is opened again.
func (s *logSource) reopenSilent(last int64) {
	if s.searching.Load() || !s.at.isEmpty() && last < s.at.resumeTime().UnixNano() {
		s.hidden = true
		return
	}
	s.f.note("%s/%s: the log stream brought nothing while the container wrote; opened again", s.pod, s.container)
}

// clockChange is how much older a line has to be than the one before it, for the node's
// clock to be the reason.
const clockChange = time.Second

// noteClock tells the user if the times of lines go back.
func (s *logSource) noteClock(next time.Time) {
	back := time.Duration(s.at.last.at - next.UnixNano())
	if s.at.isEmpty() || back < clockChange {
		return
	}
	s.f.note("the times of %s/%s go back by about %s: the clock of node %s was changed", s.pod, s.container, formatSpan(back), s.node)
}
