package redirectserver

import (
	"fmt"
	"time"

	"kdiag/mux/wire"
)

// avoidCrowd leaves the port to the application until the pool has room again. The connections that
// are there go on. The accept loop calls it.
func (r *redirectListener) avoidCrowd() {
	if !r.enterCrowd() {
		return
	}

	limit := r.pool.size()
	r.log.Warn("many connections at once: new ones reach the application", "limit", limit)
	r.tellTrouble(wire.Troubled{
		ID: r.attach.ID,
		Message: fmt.Sprintf("there are as many connections at once as the pod's memory allows (%d for all redirects): "+
			"new ones reach the application until half of them have ended", limit-limit/4),
	})

	room := r.pool.whenRoom()
	r.accepted.Go(func() {
		select {
		case <-room:
			r.leaveCrowd()
		case <-r.closed:
		}
	})
}

// enterCrowd takes the rules out of the kernel, unless they are out already. It reports whether it
// did.
func (r *redirectListener) enterCrowd() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || r.suspended {
		return false
	}

	if _, err := r.ruleSet.changeRules(nil, r.rules); err != nil {
		r.log.Error("leave the port to the application", "err", err)
		return false
	}

	r.suspended, r.crowded = true, true
	return true
}

// leaveCrowd puts the rules back that enterCrowd took out, unless the laptop's absence keeps them
// out by now, or its return after that has put them back.
func (r *redirectListener) leaveCrowd() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || !r.suspended || !r.crowded {
		return
	}

	r.crowded = false
	if err := r.ruleSet.restoreRules(r.rules); err != nil {
		r.log.Error("redirect again, now that there is room", "err", err)
		r.tellTrouble(wire.Troubled{ID: r.attach.ID, Message: "cannot redirect again, now that there is room: " + err.Error()})
		return
	}

	r.suspended = false
}

// defaultPlacePatience is how long connections wait for a place that the kernel redirected before the
// port was left to the application.
const defaultPlacePatience = 10 * time.Second

// takePlace takes a place of the pool's for a connection. If there is none it waits, and so do those
// behind it in the kernel's queue, where they cost the pod next to nothing; but not for longer than
// the patience after the places have run out.
func (r *redirectListener) takePlace() bool {
	ok, crowded := r.pool.takeOne()
	if crowded {
		r.avoidCrowd()
	}
	if ok {
		r.crowdedSince = time.Time{}
		return true
	}

	if r.crowdedSince.IsZero() {
		r.crowdedSince = time.Now()
	}
	patience := time.NewTimer(r.placePatience - time.Since(r.crowdedSince))
	defer patience.Stop()

	for {
		select {
		case <-r.pool.whenPlace():
		case <-patience.C:
			return false
		case <-r.detaching:
			return false
		}
		if ok, _ := r.pool.takeOne(); ok {
			return true
		}
	}
}
