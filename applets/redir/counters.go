package redir

import (
	"fmt"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/laptop/units"
)

// counterLine shows the counters on a terminal's last line.
type counterLine struct {
	line *statusline.Line

	mu      sync.Mutex
	ended   chan struct{} // closed by stop; nil before start
	stopped bool
	showing sync.WaitGroup
}

// refreshEvery is the time between two looks at the counters.
const refreshEvery = 500 * time.Millisecond

// start shows what read returns, from now on. It does not wait for the terminal, and does nothing
// if it was called before.
func (l *counterLine) start(read func() string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || l.ended != nil {
		return
	}

	ended := make(chan struct{})
	l.ended = ended
	l.showing.Go(func() {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		for {
			l.line.Show(read())
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
}

// isShown reports whether the counters are shown.
func (l *counterLine) isShown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended != nil && !l.stopped
}

// stop takes the line away. It may be called more than once.
func (l *counterLine) stop() {
	l.endShowing()
	l.showing.Wait()
	l.line.End()
}

// endShowing has the counters shown no more.
func (l *counterLine) endShowing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil && !l.stopped {
		close(l.ended)
	}
	l.stopped = true
}

// formatStatus says how things are: what was counted, or that there is no connection.
func formatStatus(c redirectclient.Counters, away *redirectclient.Away) string {
	if away == nil {
		return formatCounters(c)
	}
	return fmt.Sprintf("reconnecting for %s; press Ctrl-C to stop (%s)", units.Span(time.Since(away.Since).Truncate(time.Second).Seconds()), away.Cause)
}

func formatCounters(c redirectclient.Counters) string {
	return fmt.Sprintf("%d open, %d total, %s in, %s out; press Ctrl-C to stop", c.Open, c.Total, units.Size(c.Received), units.Size(c.Sent))
}
