package logs

import (
	"context"
	"sync"
)

// streamSlots limits how many logs are open at once. While more logs need reading
// than may be open, none is followed: each is read to its end, closed, and resumed
// later, in turn.
type streamSlots struct {
	slots chan struct{}
	// crowding is called when more logs need reading than may be open.
	crowding func(wanted, most int)

	mu      sync.Mutex
	wanted  int
	crowded chan struct{} // closed while more logs need reading than may be open
}

func newStreamSlots(most int, crowding func(wanted, most int)) *streamSlots {
	return &streamSlots{slots: make(chan struct{}, most), crowded: make(chan struct{}), crowding: crowding}
}

// addReader counts a log that needs reading, until removeReader.
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

// yieldSignal returns a channel that is closed when a followed log has to make room
// for others.
func (t *streamSlots) yieldSignal() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.crowded
}

// takeSlot waits for a free slot, first come, first served. It returns false if ctx
// ends first. freeSlot returns the slot.
func (t *streamSlots) takeSlot(ctx context.Context) bool {
	select {
	case t.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *streamSlots) freeSlot() { <-t.slots }
