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
	read func() redirectclient.Counters

	ended   chan struct{} // closed by stop; nil before start
	showing sync.WaitGroup
}

// refreshEvery is the time between two looks at the counters.
const refreshEvery = 500 * time.Millisecond

// start shows the counters from now on.
func (l *counterLine) start() {
	l.ended = make(chan struct{})
	l.line.Show(formatCounters(l.read()))
	l.showing.Go(func() {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		for {
			select {
			case <-l.ended:
				return
			case <-tick.C:
				l.line.Show(formatCounters(l.read()))
			}
		}
	})
}

// stop takes them away, if start was called.
func (l *counterLine) stop() {
	if l.ended == nil {
		return
	}
	close(l.ended)
	l.showing.Wait()
	l.line.End()
}

func formatCounters(c redirectclient.Counters) string {
	return fmt.Sprintf("%d open, %d total, %s in, %s out; press Ctrl-C to stop", c.Open, c.Total, units.Size(c.Received), units.Size(c.Sent))
}
