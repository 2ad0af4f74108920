package mux

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Budget bounds what all connections that share it may hold of what their peers sent: the credits
// that were given out and not yet used up. It is safe for concurrent use.
type Budget struct {
	limit       int64
	outstanding atomic.Int64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// free returns how many bytes may still be given out.
func (b *Budget) free() int64 { return max(b.limit-b.outstanding.Load(), 0) }

// share returns how much one connection may hold that holds own bytes already. It falls with the
// third power of what is left, so that however many have stopped reading with all they could get,
// there is something left for the others.
func (b *Budget) share(outstanding, own int64) int64 {
	left := float64(max(b.limit-outstanding+own, 0)) / float64(b.limit)
	return int64(float64(b.limit) * left * left * left / 2)
}

// scarce reports whether idle connections should give back what they do not use.
func (b *Budget) scarce() bool { return b.free() < b.limit*3/4 }

const (
	// minWindow is what a connection may always be sent, in bytes, however scarce the budget is.
	minWindow = 2 << 10
	// maxInitial bounds the credit that a connection begins with, in bytes.
	maxInitial = 256 << 10
	// defaultInitial is what a connection begins with until the peer's first signalInitial, in
	// bytes.
	defaultInitial = 64 << 10
)

// initial returns the credit that a new connection begins with, a power of two: less as the budget
// gets scarce, because most connections never need it. It leaves two fifths of the budget to those
// that read.
func (b *Budget) initial() uint32 {
	left := (float64(b.free())/float64(b.limit) - 0.4) / 0.6
	wanted := float64(max(min(b.limit/128, maxInitial), defaultInitial)) * left * left
	if left <= 0 || wanted < minWindow {
		return minWindow
	}
	return 1 << (bits.Len32(uint32(wanted)) - 1)
}

// receiveWindow counts what one connection's peer may send. Its Conn guards it.
type receiveWindow struct {
	budget *Budget
	// size is how many bytes the peer may be ahead of the reader. It grows with what the reader
	// takes and the path's delay, up to max.
	size, max         int64
	granted, consumed int64 // since the connection's beginning
	lastGrant         time.Time
	revoking          bool
	active            bool // bytes came since the last look
	released          bool
}

// newReceiveWindow begins with a credit that the peer knows already.
func newReceiveWindow(b *Budget, initial, largest int64) receiveWindow {
	b.outstanding.Add(initial)
	return receiveWindow{budget: b, size: max(initial, defaultInitial), max: largest, granted: initial}
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
	w.budget.outstanding.Add(-int64(n))
}

// grant returns what the peer may send in all, if that is news for it. trip is the path's round
// trip.
func (w *receiveWindow) grant(now time.Time, trip time.Duration) (total uint64, ok bool) {
	if w.released || w.revoking {
		return 0, false
	}

	// Others take from the budget at the same time.
	own := w.outstanding()
	for {
		taken := w.budget.outstanding.Load()
		share := max(w.budget.share(taken, own), minWindow)
		if own > min(w.size, share)/2 {
			return 0, false
		}

		// A reader that takes half a window within two round trips may be kept waiting by it.
		size := w.size
		if size <= share && now.Sub(w.lastGrant) < 2*max(trip, minTrip) {
			size = min(size*2, w.max)
		}

		more := min(size, share) - own
		if more <= 0 {
			return 0, false
		}
		if w.budget.outstanding.CompareAndSwap(taken, taken+more) {
			w.size, w.lastGrant = size, now
			w.granted += more
			return uint64(w.granted), true
		}
	}
}

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
		w.budget.outstanding.Add(int64(total) - w.granted)
	}
	w.granted = int64(total)
	w.size = max(min(w.size, defaultInitial), minWindow)
	return true
}

// release gives back what is left.
func (w *receiveWindow) release() {
	if !w.released {
		w.released = true
		w.budget.outstanding.Add(-w.outstanding())
	}
}
