package redirectserver

import "sync"

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

// placeReserve is how many places more there are for what goes to the application: health probes must
// reach it, however many connections there are.
const placeReserve = 128

// takeReserved takes places for a connection to the application, and reports whether there were any.
func (p *connectionPool) takeReserved(places int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.used+places > p.limit+placeReserve {
		return false
	}

	p.used += places
	return true
}

// giveBack gives places back.
func (p *connectionPool) giveBack(places int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.used -= places
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
