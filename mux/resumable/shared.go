package resumable

import "time"

const (
	// A queue in the network is wanted. While small data shares the path, it is not more than it
	// takes to keep the path busy.
	minTarget = 1500 * time.Microsecond
	maxTarget = 25 * time.Millisecond
	// aloneTarget is for bulk data that is alone on the path: each program on the way then finds
	// much at once, which costs it less.
	aloneTarget = 40 * time.Millisecond
	// triedAlone is the window above which such data needs no trial to let it shrink.
	triedAlone = 1 << 20
	// sharedFor is how long the path counts as shared after small data.
	sharedFor = 100 * time.Millisecond
	// maxSharedFor bounds it on a path with long round trips, of which it is four.
	maxSharedFor = 2 * time.Second

	// near is how long the lowest round trip of a path is on which minWindow is enough beside small
	// data: for 1 Gbit/s.
	near = time.Millisecond
)

// noteSmall notes that small data shares the path.
func (p *path) noteSmall(now time.Duration) {
	p.smallAt = now
	p.updateShared(now)
}

// isPinned reports whether minWindow is enough: the path is shared, and its lowest round trip is known
// to be short.
func (p *path) isPinned(now time.Duration) bool {
	base := p.roundTrip(now)
	return p.isShared && base > 0 && base < near
}

// updateShared changes to the other window when small data has begun to share the path, or does so
// no more.
func (p *path) updateShared(now time.Duration) {
	// It must last: a window that changes in each round finds out nothing.
	shared := now-p.smallAt < max(sharedFor, min(4*p.smoothed, maxSharedFor))
	if shared == p.isShared {
		return
	}

	p.isShared = shared
	pinned := p.isPinned(now)
	if p.startup && !pinned {
		return
	}

	p.abandon()
	before := max(p.window, p.round.goal)
	switch {
	case pinned:
		p.setWindow(minWindow)
	case p.otherWindow > 0:
		p.window = min(p.otherWindow, p.ceiling)
	case shared:
		base := p.roundTrip(now)
		p.setWindow(min(int64(p.rate*float64(base+p.target(base))), p.window))
	}
	p.otherWindow = before
	p.round.goal, p.round.skip = p.window, true
}

// target returns how long bytes shall stand in queues on a path with this base.
func (p *path) target(base time.Duration) time.Duration {
	if !p.isShared {
		return aloneTarget
	}
	return min(max(base/3, minTarget), maxTarget)
}
