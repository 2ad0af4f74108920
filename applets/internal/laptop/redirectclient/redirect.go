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
	mu        sync.Mutex
	armed     bool   // the manager has it
	refusal   string // why the manager refused it last, as it was told
	reported  bool
	silenced  bool           // nothing more is said
	yielded   bool           // another session of the user's has taken it over
	addresses []netip.Addr   // what the observer knows
	moved     *RedirectMoved // came before the redirect was reported
	probed    probeCount
}

// reportStarted reports the redirect, and then its move if that was quicker than
// the answer to the request.
func (r *redirect) reportStarted(o Observer, e RedirectStarted) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.armed, r.refusal = true, ""
	r.reported, r.addresses = true, e.Addresses
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
	if slices.Equal(r.addresses, e.Addresses) {
		return
	}

	r.addresses = e.Addresses
	o.RedirectMoved(e)
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
