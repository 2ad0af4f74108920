package redirectserver

import (
	"context"
	"maps"
	"sync"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
)

const (
	// firstRefused is how long after the first refusal the laptop is told: others may follow at once.
	firstRefused = 200 * time.Millisecond
	// refusedEvery is the least time from one report of refusals to the next.
	refusedEvery = 5 * time.Second
)

// A refusedCount counts the connections of a redirect that the manager resets, by the reason, and
// reports them to the laptop now and then.
type refusedCount struct {
	report func(wire.Refused) // does not wait for the link
	id     uint32

	mu     sync.Mutex
	counts map[string]int64
	timer  *time.Timer // until the next report; nil if there is nothing to report
	told   time.Time
}

func newRefusedCount(redirect uint32, report func(wire.Refused)) *refusedCount {
	return &refusedCount{id: redirect, report: report, counts: map[string]int64{}}
}

// noteOne counts one, and reports it soon.
func (c *refusedCount) noteOne(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.counts[why]++
	if c.timer == nil {
		wait := max(firstRefused, refusedEvery-time.Since(c.told))
		c.timer = time.AfterFunc(wait, c.reportCounts)
	}
}

// reportCounts reports what was counted.
func (c *refusedCount) reportCounts() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return
	}

	c.timer, c.told = nil, time.Now()
	c.report(wire.Refused{ID: c.id, Counts: maps.Clone(c.counts)})
}

// readCounts returns what was counted, which need not be reported any more.
func (c *refusedCount) readCounts() wire.Refused {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}

	return wire.Refused{ID: c.id, Counts: maps.Clone(c.counts)}
}

// refuseConnection resets a connection of the redirect's, and counts that by one of wire.Refused….
// Nothing else may reset one that the laptop does not know of.
func (r *redirectListener) refuseConnection(conn *mux.TCP, why string) {
	conn.Reset()
	r.refused.noteOne(why)
	r.log.Warn("connection reset", "why", why)
}

// refuseStranger resets a connection that the redirect did not bring.
func (r *redirectListener) refuseStranger(conn *mux.TCP, err error) {
	r.log.Debug("dropped", "peer", conn.RemoteAddr().String(), "err", err)
	conn.Reset()
	r.refused.noteOne(wire.RefusedStranger)
}

// sayFarewell waits for the session's connections, and returns the last counts.
func (s *redirectSession) sayFarewell(ctx context.Context) (wire.Farewell, error) {
	err := s.awaitConnections(ctx)
	var last wire.Farewell
	for _, r := range s.listRedirects() {
		if counted := r.refused.readCounts(); len(counted.Counts) > 0 {
			last.Refused = append(last.Refused, counted)
		}
	}
	return last, err
}
