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

	started bool
	ended   chan struct{} // closed by stop
	showing sync.WaitGroup
}

// refreshEvery is the time between two looks at the counters.
const refreshEvery = 500 * time.Millisecond

// start shows what read returns, from now on.
func (l *counterLine) start(read func() redirectclient.Counters) {
	l.started, l.ended = true, make(chan struct{})
	l.line.Show(formatCounters(read()))
	l.showing.Go(func() {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		for {
			select {
			case <-l.ended:
				return
			case <-tick.C:
				l.line.Show(formatCounters(read()))
			}
		}
	})
}

// stop takes the line away. It may be called more than once.
func (l *counterLine) stop() {
	if l.started {
		l.started = false
		close(l.ended)
		l.showing.Wait()
	}
	l.line.End()
}

func formatCounters(c redirectclient.Counters) string {
	return fmt.Sprintf("%d open, %d total, %s in, %s out; press Ctrl-C to stop", c.Open, c.Total, units.Size(c.Received), units.Size(c.Sent))
}
