package resumable

import (
	"testing"
	"time"
)

// newBulkFlow returns a flow that has sent much.
func newBulkFlow() *Flow { return &Flow{recent: 1 << 40} }

// TestFlows has flows of several kinds send for a second, and wants each taken for what it is.
func TestFlows(t *testing.T) {
	type sender struct {
		size  int64
		every time.Duration
		bulk  bool // from 100 ms on
	}
	bulk := sender{32 << 10, 2 * time.Millisecond, true}
	for name, senders := range map[string][]sender{
		"one of bulk":           {bulk},
		"eight of bulk":         {bulk, bulk, bulk, bulk, bulk, bulk, bulk, bulk},
		"bulk that is not fair": {bulk, {32 << 10, 6 * time.Millisecond, true}},
		"slow bulk":             {{32 << 10, 20 * time.Millisecond, true}, {32 << 10, 20 * time.Millisecond, true}},
		"a burst now and then":  {{32 << 10, 60 * time.Millisecond, false}},
		"answers beside bulk":   {bulk, {1 << 10, time.Millisecond, false}},
		"larger answers":        {bulk, {32 << 10, 10 * time.Millisecond, false}},
		"answers beside eight":  {bulk, bulk, bulk, bulk, bulk, bulk, bulk, bulk, {1 << 10, time.Millisecond, false}},
	} {
		t.Run(name, func(t *testing.T) {
			flows, wrong := make([]Flow, len(senders)), 0
			var bulkFlows flowCount
			for now := time.Duration(0); now < time.Second; now += time.Millisecond {
				for i, s := range senders {
					if now%s.every != 0 {
						continue
					}
					got := flows[i].isBulk(s.size, bulkFlows.progress, now)
					if got {
						bulkFlows.add(&flows[i], s.size, now)
					}
					if got != s.bulk && now > 100*time.Millisecond {
						wrong++
					}
				}
			}
			if wrong > 0 {
				t.Errorf("%d times a flow was taken for another kind", wrong)
			}
		})
	}
}
