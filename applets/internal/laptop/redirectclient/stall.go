package redirectclient

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/units"
)

const (
	// stallTick is how often a stallWatch looks at the clocks, and minStall what it takes for a stall.
	stallTick = 500 * time.Millisecond
	minStall  = 3 * time.Second
	// stallMatters is how long after a stall a lost connection is still its doing.
	stallMatters = 15 * time.Second
)

// A stallWatch notices that this process did not run for a while: it was stopped, by Ctrl-Z or
// SIGSTOP, or the whole machine slept. Then a connection is lost that no network has lost.
type stallWatch struct {
	mu     sync.Mutex
	last   time.Time // of the last look
	ended  time.Time // of the last stall
	length time.Duration
	slept  bool // the machine did
}

// watch looks at the clocks until ctx ends.
func (w *stallWatch) watch(ctx context.Context) {
	w.look(time.Now())
	tick := time.NewTicker(stallTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look(time.Now())
		}
	}
}

// look notes a stall since the last look. The monotonic clock of a machine that sleeps may stand still,
// and then only the other one tells.
func (w *stallWatch) look(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.IsZero() {
		w.last = now
		return
	}

	ran, passed := now.Sub(w.last), now.Round(0).Sub(w.last.Round(0))
	w.last = now
	if length := max(ran, passed); length >= minStall {
		w.ended, w.length, w.slept = now, length, ran < minStall
	}
}

// explain returns why a connection was lost if a stall that has just ended is the reason, else nil.
func (w *stallWatch) explain(now time.Time) error {
	w.look(now) // before the tick that would

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended.IsZero() || now.Sub(w.ended) > stallMatters:
		return nil
	case w.slept:
		return fmt.Errorf("this machine slept for %s", units.Span(w.length.Seconds()))
	}
	return fmt.Errorf("kdiag was stopped for %s", units.Span(w.length.Seconds()))
}
