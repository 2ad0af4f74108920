package logs

import (
	"context"
	"sync"
)

// streamSlots bounds how many logs are open at once. While there are more to read
// than may be open, none is followed: each is read to its end and closed, in
// turn, and goes on later from where it was.
type streamSlots struct {
	slots chan struct{}
	// crowding is called when there are more than may be open, with how many.
	crowding func(wanted, most int)

	mu      sync.Mutex
	wanted  int
	crowded chan struct{} // closed while there are more than may be open
}

func newStreamSlots(most int, crowding func(wanted, most int)) *streamSlots {
	return &streamSlots{slots: make(chan struct{}, most), crowded: make(chan struct{}), crowding: crowding}
}

// addReader says that there is one more log to read, until leave.
func (t *streamSlots) addReader() {
	t.mu.Lock()
	t.wanted++
	wanted, most := t.wanted, cap(t.slots)
	if wanted == most+1 {
		close(t.crowded)
	}
	t.mu.Unlock()
	if wanted == most+1 {
		t.crowding(wanted, most)
	}
}

func (t *streamSlots) removeReader() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wanted == cap(t.slots)+1 {
		t.crowded = make(chan struct{})
	}
	t.wanted--
}

// yieldSignal is closed when a log that is followed is to be left to others.
func (t *streamSlots) yieldSignal() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.crowded
}

// takeSlot waits for a free stream, first come, first served; false where ctx ended
// first. give frees it.
func (t *streamSlots) takeSlot(ctx context.Context) bool {
	select {
	case t.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *streamSlots) freeSlot() { <-t.slots }
