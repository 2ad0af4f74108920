package redirectclient

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// redirect is a Spec that the manager was asked for.
type redirect struct {
	Spec
	// lastAddress is the address of Local that answered last, tried first: a name
	// such as localhost has several, of which often one is served.
	lastAddress atomic.Pointer[string]

	// The observer is told of the redirect while mu is held, so that it hears
	// things in their order.
	mu       sync.Mutex
	armed    bool   // the manager has it
	refusal  string // why the manager refused it last, as it was told
	reported bool
	silenced bool             // nothing more is said
	yielded  bool             // another session of the user's has taken it over
	known    []netip.AddrPort // destinations that the observer knows
	full     bool             // and that there is no room for more
	noted    string           // what was told of why destinations cannot be found
	moved    *RedirectMoved   // came before the redirect was reported
	probed   probeCount
	refused  refusedCount
}

// reportStarted reports the redirect, and then its move if that was quicker than
// the answer to the request.
func (r *redirect) reportStarted(o Observer, e RedirectStarted) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.armed, r.refusal = true, ""
	r.reported = true
	r.learn(e.Addresses, e.Endpoints)
	o.RedirectStarted(e)
	if r.moved != nil {
		r.reportAddresses(o, *r.moved)
		r.moved = nil
	}
}

// reportMoved reports that the redirect has moved, or keeps it until the redirect
// itself is reported.
func (r *redirect) reportMoved(o Observer, e RedirectMoved) {
	r.mu.Lock()
	defer r.mu.Unlock()

	switch {
	case r.silenced:
	case r.reported:
		r.reportAddresses(o, e)
	default:
		r.moved = &e
	}
}

// reportAddresses reports addresses that the observer does not know yet. The
// caller holds mu.
func (r *redirect) reportAddresses(o Observer, e RedirectMoved) {
	e.Added = r.learn(e.Addresses, e.Endpoints)
	if len(e.Added) == 0 && (!e.Full || r.full) {
		return
	}

	r.full = e.Full
	o.RedirectMoved(e)
}

// learn notes destinations, and returns those that are new. The caller holds mu.
func (r *redirect) learn(addresses []netip.Addr, endpoints []netip.AddrPort) (added []netip.AddrPort) {
	all := slices.Clone(endpoints)
	for _, address := range addresses {
		all = append(all, netip.AddrPortFrom(address, r.Port))
	}

	for _, destination := range all {
		if !slices.Contains(r.known, destination) {
			added = append(added, destination)
		}
	}
	r.known = append(r.known, added...)
	return added
}

// silence ends the reports: the connections go back to where they went before.
func (r *redirect) silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silenced = true
}

// markUnarmed notes that the manager does not have the redirect any more.
func (r *redirect) markUnarmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.reported = false, false
	r.keepProbed()
	r.refused.told = nil
}

// markArmed notes that the manager has the redirect, of which nobody is told.
func (r *redirect) markArmed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = true
}

// isArmed reports whether the manager has the redirect.
func (r *redirect) isArmed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.armed
}

// noteRefusal notes why the manager refuses the redirect, and reports whether that is new.
func (r *redirect) noteRefusal(why string) (isNew bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	isNew = r.refusal != why
	r.refusal = why
	return isNew
}
