package logs

import (
	"context"
	"fmt"
	"time"

	"kdiag/kube"
)

// The kubelet serves only the present file of a container's log. When the file is
// rotated it goes on with the new one, wherever its reader was: what a reader that was
// late had not read is lost, and nothing in the stream says so.

// linePace watches when lines were logged and when they came, in one stream.
type linePace struct {
	logged time.Time // the time of the line before; zero before the first
	came   time.Time
	usual  time.Duration // the usual time between two lines
	// Lines from fileFirst to fileLast, in nanoseconds, are known to be in one file.
	fileFirst, fileLast int64
}

const (
	// leastJump is how far the times of two lines have to be apart to count as a jump.
	leastJump = 500 * time.Millisecond
	// leastLoss is the same for lines of two files.
	leastLoss = 200 * time.Millisecond
	// unusual is how many times as far apart they have to be as lines usually are.
	unusual = 8
)

// addLine records a line. It returns the line's distance from the one before, if that
// is unusual, and longer than the time that passed meanwhile: the reader was late, and
// then suddenly on time.
func (p *linePace) addLine(logged, came time.Time) time.Duration {
	before, passed := p.logged, came.Sub(p.came)
	p.logged, p.came = logged, came
	if before.IsZero() {
		return 0
	}

	apart := logged.Sub(before)
	jumped := apart > leastJump && apart-passed > leastJump && apart > unusual*p.usual
	if !jumped && apart > 0 {
		p.usual += (apart - p.usual) / 16
	}
	if !jumped {
		return 0
	}

	return apart
}

// noteJump tells the user if lines before this one were rotated away.
func (st *logStream) noteJump(ctx context.Context, logged time.Time) {
	before := st.pace.logged
	apart := st.pace.addLine(logged, time.Now())
	if apart == 0 || before.UnixNano() >= st.pace.fileFirst && logged.UnixNano() <= st.pace.fileLast {
		return
	}

	// If both lines are in the present file, nobody logged anything between them.
	first, err := st.readFirstTime(ctx, false)
	if err != nil || first == 0 {
		return
	}
	if first <= before.UnixNano() {
		st.pace.fileFirst, st.pace.fileLast = first, logged.UnixNano()
		if end, err := st.readEnd(ctx, kube.LogRequest{}); err == nil {
			st.pace.fileLast = max(st.pace.fileLast, end.last.at)
		}
		return
	}

	st.noteMissing(apart)
	st.pace.logged = logged
}

// noteMissing tells the user that lines are missing before the next one, unless the two
// lines around them are no further apart than others.
func (s *logSource) noteMissing(apart time.Duration) {
	s.pace.logged = time.Time{}
	if apart < leastLoss || apart < unusual*s.pace.usual {
		return
	}
	s.f.tellHere("about %s of %s/%s are missing here (rotated away)", formatSpan(apart), s.pod, s.container)
}

// formatSpan writes a duration in seconds.
func formatSpan(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}
