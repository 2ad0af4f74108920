package redirectserver

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A closeRecorder is a connection that remembers whether it was closed.
type closeRecorder struct {
	net.Conn
	closed bool
}

func (c *closeRecorder) Close() error { c.closed = true; return nil }

// TestRoom lets the one go that has waited longest, and only it.
func TestRoom(t *testing.T) {
	r := waitingRoom{size: 16}
	conns := make([]closeRecorder, r.size+1)
	leaves := make([]func(), len(conns))
	for i := range conns {
		leaves[i] = r.admitConnection(&conns[i])
	}

	for i := range conns {
		if conns[i].closed != (i == 0) {
			t.Errorf("connection %d of %d: closed %t", i, len(conns), conns[i].closed)
		}
	}

	for i, leave := range leaves {
		if i%2 == 0 {
			leave()
		}
	}

	r.evictDownTo(3)
	for i := range conns {
		// Of the 8 that wait, the odd ones, the first 5 go.
		if want := i == 0 || i%2 == 1 && i < 10; conns[i].closed != want {
			t.Errorf("connection %d after evict: closed %t, want %t", i, conns[i].closed, want)
		}
	}

	r.closeRoom()
	late := closeRecorder{}
	r.admitConnection(&late)()
	if !conns[15].closed || !late.closed || conns[16].closed || r.waiting.Len() != 0 {
		t.Errorf("after shut: a waiting one closed %t, a late one %t, one that had left %t, %d wait",
			conns[15].closed, late.closed, conns[16].closed, r.waiting.Len())
	}
}

// TestRate allows a few at once, and then one more at a time.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rateLimit{burst: 4, every: time.Second}
		for _, step := range []struct {
			pass time.Duration
			want int
		}{{0, 4}, {0, 0}, {999 * time.Millisecond, 0}, {time.Millisecond, 1}, {2 * time.Second, 2}, {time.Hour, 4}} {
			time.Sleep(step.pass)

			got := 0
			for range 10 {
				if r.allowOne() {
					got++
				}
			}

			if got != step.want {
				t.Errorf("after %s: %d allowed, want %d", step.pass, got, step.want)
			}
		}
	})
}
