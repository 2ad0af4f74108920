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
						bulkFlows.add(&flows[i], s.size, 1, now)
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

// TestPace wants a few acknowledgements of each window, and bounds what a peer may ask for.
func TestPace(t *testing.T) {
	for window, want := range map[int64]uint32{probeFloor: 32 << 10, slowWindow: 32 << 10, minWindow: 64 << 10, 256 << 10: 64 << 10, 1 << 20: 128 << 10, 3 << 20: 256 << 10, 30 << 20: 512 << 10} {
		p := newPath(32<<20, 0)
		p.window = window
		if got := p.wantedPace(); got != want {
			t.Errorf("with a window of %d bytes an acknowledgement is wanted every %d, want %d", window, got, want)
		}
	}

	for asked, want := range map[uint32]uint64{0: minAckEvery, 100 << 10: 100 << 10, 1<<32 - 1: maxAckEvery} {
		c := &link{stream: New(Options{})}
		c.takePace(asked)
		if c.ackEvery != want {
			t.Errorf("asked for one every %d bytes, the link acknowledges every %d, want %d", asked, c.ackEvery, want)
		}
	}
}
