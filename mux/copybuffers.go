package mux

import (
	"sync"
	"time"
)

// copySizes lists the sizes of copy buffers, in bytes. A copy takes a smaller one when many are
// under way.
var copySizes = [...]int{64 << 10, 32 << 10, 16 << 10, 8 << 10, 4 << 10, 2 << 10}

// DefaultCopyMemory limits a Proxier's buffers together, in bytes.
const DefaultCopyMemory = 4 << 20

// copyBuffer is a buffer that a copy has taken from a Proxier. Its zero value is none.
type copyBuffer struct {
	bytes *[]byte
	class int // the index of its size
}

// takeBuffer takes a buffer of up to an eighth of the memory that is left. So the first copies
// get large ones, and there is something left for each that comes.
func (x *Proxier) takeBuffer() copyBuffer {
	share, class := (x.memory()-x.held.Load())/8, 0
	for class < len(copySizes)-1 && int64(copySizes[class]) > share {
		class++
	}

	x.held.Add(int64(copySizes[class]))
	buffer, ok := x.pools[class].Get().(*[]byte)
	if !ok {
		made := make([]byte, copySizes[class])
		buffer = &made
	}

	return copyBuffer{buffer, class}
}

// returnBuffer gives a buffer back.
func (x *Proxier) returnBuffer(b copyBuffer) {
	x.pools[b.class].Put(b.bytes)
	x.held.Add(-int64(copySizes[b.class]))
}

// Resize changes Memory while the Proxier is in use.
func (x *Proxier) Resize(memory int64) { x.resized.Store(memory) }

// memory returns the limit of all buffers together.
func (x *Proxier) memory() int64 {
	if resized := x.resized.Load(); resized > 0 {
		return resized
	}
	if x.Memory > 0 {
		return x.Memory
	}
	return DefaultCopyMemory
}

// isScarce reports whether so much is held, by copies that wait for a slow endpoint to take
// their bytes, that the next one should wait without a buffer.
func (x *Proxier) isScarce() bool { return x.held.Load() > x.memory()/4 }

// shrinker is an Endpoint with buffers of its own. Shrink frees those that are empty. It is called
// while others use the Endpoint.
type shrinker interface{ Shrink() }

// quietTime is how long an endpoint has nothing to read until its buffers are freed. A busy one
// would only allocate them again.
const quietTime = time.Second

// quietList frees the buffers of endpoints that have gone quiet. One timer serves all of them.
type quietList struct {
	mu   sync.Mutex
	busy map[*direction]shrinker
}

// add puts a direction on the list, to be looked at after quietTime.
func (l *quietList) add(d *direction, s shrinker) {
	l.mu.Lock()
	defer l.mu.Unlock()

	if len(l.busy) == 0 {
		l.busy = map[*direction]shrinker{}
		time.AfterFunc(quietTime, l.sweep)
	}
	l.busy[d] = s
}

// remove takes a direction off the list.
func (l *quietList) remove(d *direction) {
	l.mu.Lock()
	defer l.mu.Unlock()

	// The timer finds out if this was the last one, and ends: an add must not start a second.
	if _, ok := l.busy[d]; ok {
		l.busy[d] = nil
	}
}

// sweep shrinks what has moved nothing since the last sweep.
func (l *quietList) sweep() {
	var quiet []shrinker
	l.mu.Lock()
	for d, s := range l.busy {
		if d.active.Swap(false) && s != nil {
			continue
		}
		delete(l.busy, d)
		if s != nil {
			quiet = append(quiet, s)
		}
	}

	if len(l.busy) > 0 {
		time.AfterFunc(quietTime, l.sweep)
	}
	l.mu.Unlock()

	for _, s := range quiet {
		s.Shrink()
	}
}
