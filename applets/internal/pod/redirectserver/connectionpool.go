package redirectserver

import (
	"context"
	"slices"
	"sync"
)

// A connectionPool bounds the connections of all redirects and sessions together, since each costs
// memory of the pod's and a descriptor. When few places are left, redirects leave their ports to the
// application until there is room again.
type connectionPool struct {
	mu    sync.Mutex
	files int // connections that the descriptors allow
	limit int
	used  int
	room  []chan struct{} // to be closed when there is room
	place chan struct{}   // closed when a place becomes free; nil while nobody waits
	// reserved are to be closed, one for each place beyond the limit that is taken.
	reserved []chan struct{}
}

// newConnectionPool makes a pool for a process that may open a number of files.
func newConnectionPool(files int) *connectionPool {
	allowed := files - files/4 // the gate and everything else share the remaining quarter
	return &connectionPool{files: allowed, limit: allowed}
}

// setLimit sets how many connections there may be, as far as the descriptors allow them.
func (p *connectionPool) setLimit(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.limit = min(limit, p.files)
	p.tellFree()
}

// size returns the limit.
func (p *connectionPool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// count returns how many places are taken.
func (p *connectionPool) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// takeOne takes a place, and reports whether there was one. crowded says that new connections should
// go elsewhere: the places that are left are for those that the kernel has redirected already.
func (p *connectionPool) takeOne() (ok, crowded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.used >= p.limit {
		return false, true
	}

	p.used++
	return true, p.used > p.limit-p.limit/4
}

// takeOver takes the place of a connection from whoever gives it back in a moment.
func (p *connectionPool) takeOver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used++
}

// placeReserve is how many places more there are for what goes to the application: health probes must
// reach it, however many connections there are.
const placeReserve = 128

// takeReserved takes a place for a connection to the application, and waits for it until ctx ends. It
// reports whether there was one.
func (p *connectionPool) takeReserved(ctx context.Context) bool {
	waiter := p.queueForReserved()
	select {
	case <-waiter:
		return true
	case <-ctx.Done():
		return !p.leaveQueue(waiter)
	}
}

// queueForReserved returns a channel that is closed once a place was taken for the caller.
func (p *connectionPool) queueForReserved() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()

	waiter := make(chan struct{})
	p.reserved = append(p.reserved, waiter)
	p.tellFree()
	return waiter
}

// leaveQueue ends the wait for a place. It reports false if the place has just been taken.
func (p *connectionPool) leaveQueue(waiter chan struct{}) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	i := slices.Index(p.reserved, waiter)
	if i >= 0 {
		p.reserved = slices.Delete(p.reserved, i, i+1)
	}
	return i >= 0
}

// giveBack gives a place back.
func (p *connectionPool) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.used--
	p.tellFree()
}

// whenRoom returns a channel that is closed once no more than half of the places are taken.
func (p *connectionPool) whenRoom() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()

	waiter := make(chan struct{})
	p.room = append(p.room, waiter)
	p.tellFree()
	return waiter
}

// whenPlace returns a channel that is closed once there may be a place.
func (p *connectionPool) whenPlace() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.place == nil {
		p.place = make(chan struct{})
	}
	waiter := p.place
	p.tellFree()
	return waiter
}

// tellFree tells those who wait for a place or for room, if there is some. mu is held.
func (p *connectionPool) tellFree() {
	for len(p.reserved) > 0 && p.used < p.limit+placeReserve {
		p.used++
		close(p.reserved[0])
		p.reserved = p.reserved[1:]
	}
	if p.used < p.limit && p.place != nil {
		close(p.place)
		p.place = nil
	}
	if p.used > p.limit/2 {
		return
	}

	for _, waiter := range p.room {
		close(waiter)
	}
	p.room = nil
}
