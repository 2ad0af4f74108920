package mux

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A Budget bounds what all connections that share it may hold of what their peers sent: the credits
// that were given out and not yet used up. It is safe for concurrent use.
type Budget struct {
	// Readers that have taken much lately share a pool of their own.
	all, fast creditPool
	conns     atomic.Int64 // that share it
	held      atomic.Int64 // what has come and was not read
}

// creditPool is a part of a Budget.
type creditPool struct {
	limit       atomic.Int64
	outstanding atomic.Int64 // credits that were given out and not used up
}

// NewBudget makes a budget of all bytes for everybody, and fast bytes more for those that keep up
// with much: they hold next to nothing of what comes, unless many stop at once. As soon as readers
// hold up more than a little, credits are given out as if there were less.
func NewBudget(all, fast int64) *Budget {
	b := &Budget{}
	b.Resize(all, fast)
	return b
}

// Resize changes what NewBudget was given. What was given out already stays out until it is used.
func (b *Budget) Resize(all, fast int64) {
	b.all.limit.Store(all)
	b.fast.limit.Store(fast)
}

// given returns how many bytes were given out.
func (b *Budget) given() int64 { return b.all.outstanding.Load() + b.fast.outstanding.Load() }

// most returns how many bytes may be given out, beside minWindow for each connection.
func (b *Budget) most() int64 { return b.all.limit.Load() + b.fast.limit.Load() }

// share returns how much one connection may hold of its pool, that holds own bytes already. It falls
// with the third power of what is left, so that however many have stopped reading with all they
// could get, there is something left for the others. What each may always hold does not count.
func (b *Budget) share(pool *creditPool, outstanding, own int64) int64 {
	limit, others := float64(pool.limit.Load()), outstanding-own
	if pool == &b.fast {
		limit *= 1 - b.heldUp()*3/4
	} else {
		others -= b.conns.Load() * minWindow
	}

	left := max(limit-float64(max(others, 0)), 0) / limit
	return int64(limit * left * left * left / 2)
}

// heldUp returns from 0 to 1 how far readers are behind.
func (b *Budget) heldUp() float64 {
	most := b.all.limit.Load()
	little := most / 4
	return float64(min(max(b.held.Load(), little), most)-little) / float64(most-little)
}

// scarce reports whether idle connections should give back what they do not use.
func (b *Budget) scarce() bool {
	return b.all.outstanding.Load() > b.all.limit.Load()/4 || b.fast.outstanding.Load() > b.fast.limit.Load()/4
}

const (
	// minWindow is what a connection may always be sent, in bytes, however scarce the budget is.
	minWindow = 2 << 10
	// maxInitial bounds the credit that a connection begins with, in bytes.
	maxInitial = 256 << 10
	// defaultInitial is what a connection begins with until the peer's first signalInitial, in
	// bytes.
	defaultInitial = 64 << 10
)

// initial returns the credit that a new connection begins with, a power of two: less the more there
// are, because most never need it. 1,000 of them are given less than what is there for all.
func (b *Budget) initial() uint32 {
	limit := b.all.limit.Load()
	most := max(min(limit/128, maxInitial), defaultInitial)
	wanted := min(limit/8/(b.conns.Load()+1), most)
	if wanted < minWindow {
		return minWindow
	}
	return 1 << (bits.Len32(uint32(wanted)) - 1)
}

// heldBytes counts what has come on one session and was not read, for the session and its budget.
type heldBytes struct {
	budget   *Budget
	mu       sync.Mutex
	count    int64
	released bool
}

// add counts bytes that came, or were read if n is negative, and returns how many wait to be read.
func (h *heldBytes) add(n int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count += int64(n)
	if !h.released {
		h.budget.held.Add(int64(n))
	}
	return h.count
}

// release gives back to the budget what nobody may read any more.
func (h *heldBytes) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.released {
		h.released = true
		h.budget.held.Add(-h.count)
	}
}

// receiveWindow counts what one connection's peer may send. Its Conn guards it.
type receiveWindow struct {
	budget *Budget
	pool   *creditPool
	// size is how many bytes the peer may be ahead of the reader. It grows with what the reader
	// takes and the path's delay, up to max.
	size, max         int64
	granted, consumed int64 // since the connection's beginning
	after             int64 // what was outstanding after the last grant
	lastGrant         time.Time
	revoking          bool
	active            bool // bytes came since the last look
	released          bool
}

// newReceiveWindow begins with a credit that the peer knows already.
func newReceiveWindow(b *Budget, initial, largest int64) receiveWindow {
	b.conns.Add(1)
	b.all.outstanding.Add(initial)
	return receiveWindow{
		budget: b, pool: &b.all, size: max(initial, defaultInitial), max: largest,
		granted: initial, after: initial, lastGrant: time.Now(),
	}
}

// outstanding returns how much the connection may hold, or holds already.
func (w *receiveWindow) outstanding() int64 { return w.granted - w.consumed }

// consume notes that the reader took n bytes.
func (w *receiveWindow) consume(n int) {
	if w.released {
		return
	}
	w.active = true
	w.consumed += int64(n)
	w.pool.outstanding.Add(-int64(n))
}

// grant returns what the peer may send in all, if that is news for it. trip is the path's round
// trip.
func (w *receiveWindow) grant(now time.Time, trip time.Duration) (total uint64, ok bool) {
	if w.released || w.revoking {
		return 0, false
	}

	w.choosePool()

	// Others take from the pool at the same time.
	own := w.outstanding()
	for {
		taken := w.pool.outstanding.Load()
		share := max(w.budget.share(w.pool, taken, own), minWindow)
		window := min(w.size, share)
		step := min(max(window/16, minGrant), window/2)
		// Who takes little of a small credit needs no large one.
		if own > window-step || w.after-own < min(step, w.after/2) {
			return 0, false
		}

		// A reader that takes a part of the window within that part of four round trips may be
		// kept waiting by it.
		size := w.size
		if size <= share && float64(now.Sub(w.lastGrant))/float64(step) < 4*float64(max(trip, minTrip))/float64(size) {
			size = min(size*2, w.max)
		}

		more := min(size, share) - own
		if more <= 0 {
			return 0, false
		}
		if w.pool.outstanding.CompareAndSwap(taken, taken+more) {
			w.size, w.lastGrant = size, now
			w.granted += more
			w.after = own + more
			return uint64(w.granted), true
		}
	}
}

// choosePool has a fast reader take from the pool where it gets more. What it holds must fit there.
func (w *receiveWindow) choosePool() {
	b, own := w.budget, w.outstanding()
	shareOf := func(pool *creditPool) int64 {
		outstanding := pool.outstanding.Load()
		if pool != w.pool {
			outstanding += own
		}
		return b.share(pool, outstanding, own)
	}

	switch {
	case w.size < fastFrom || b.fast.limit.Load() == 0:
	case shareOf(&b.fast) >= shareOf(&b.all):
		w.changePool(&b.fast)
	case own <= shareOf(&b.all):
		w.changePool(&b.all)
	}
}

// changePool takes what is outstanding to another pool.
func (w *receiveWindow) changePool(to *creditPool) {
	if w.pool != to {
		w.pool.outstanding.Add(-w.outstanding())
		to.outstanding.Add(w.outstanding())
		w.pool = to
	}
}

// fastFrom is the window from which on a reader counts as fast, in bytes.
const fastFrom = 256 << 10

// minGrant is the least that is granted at once, in bytes, unless it is half the window.
const minGrant = 64 << 10

// minTrip is what a round trip is taken for at least: less is not measured well.
const minTrip = time.Millisecond

// revoke returns what the peer is to be asked to stop at, if the connection holds credit that
// nobody has used since the last call.
func (w *receiveWindow) revoke() (total uint64, ok bool) {
	idle := !w.active
	w.active = false
	if !idle || w.released || w.revoking || w.outstanding() <= minWindow {
		return 0, false
	}

	w.revoking = true
	return uint64(w.consumed + minWindow), true
}

// revoked notes the peer's answer. It reports whether the answer is possible.
func (w *receiveWindow) revoked(total uint64) bool {
	if !w.revoking || total > uint64(w.granted) || total < uint64(w.consumed) {
		return false
	}

	w.revoking = false
	if !w.released {
		w.pool.outstanding.Add(int64(total) - w.granted)
	}
	w.granted = int64(total)
	w.size = max(min(w.size, defaultInitial), minWindow)
	w.after = w.outstanding()
	// What was not read cannot be given back: it stays where it is.
	if !w.released && w.after <= defaultInitial {
		w.changePool(&w.budget.all)
	}
	return true
}

// release gives back what is left.
func (w *receiveWindow) release() {
	if !w.released {
		w.released = true
		w.budget.conns.Add(-1)
		w.pool.outstanding.Add(-w.outstanding())
	}
}
