package redirectserver

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

const (
	// minFollow and maxFollow bound how often a name is looked up again: as often as its answers
	// expire, if they say. Those of a cluster's DNS do after 5 to 30 s (coredns, plugin kubernetes).
	minFollow = time.Second
	maxFollow = 10 * time.Second
	// maxDestinations bounds what is kept of a name's destinations.
	maxDestinations = 256
)

// followName adds rules for addresses that the name has by now, from time to time.
func (r *redirectListener) followName(ctx context.Context, ttl time.Duration) {
	timer := time.NewTimer(followAfter(ttl))
	defer timer.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.followNow:
		}

		if !r.isSuspended() {
			var err error
			if ttl, err = r.refreshAddresses(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("follow the name", "host", r.attach.Host, "err", err)
			}
		}
		timer.Reset(followAfter(ttl))
	}
}

// followAfter returns when to look a name up again whose answer is valid for so long; 0 is unknown.
func followAfter(ttl time.Duration) time.Duration {
	if ttl == unknownTTL {
		return maxFollow
	}
	return min(max(ttl, minFollow), maxFollow)
}

// refreshAddresses looks the name up once, and adds rules for addresses that are new.
func (r *redirectListener) refreshAddresses(ctx context.Context) (ttl time.Duration, err error) {
	found, ttl, err := r.resolve(ctx, r.attach.Host)
	if err != nil {
		return unknownTTL, err
	}
	return ttl, r.cover(r.withPort(found))
}

// withPort returns destinations with the redirect's port.
func (r *redirectListener) withPort(addresses []netip.Addr) []netip.AddrPort {
	all := make([]netip.AddrPort, len(addresses))
	for i, address := range addresses {
		all[i] = netip.AddrPortFrom(address, r.attach.Port)
	}
	return all
}

// cover adds rules for destinations, and tells the laptop if some are new.
func (r *redirectListener) cover(found []netip.AddrPort) error {
	moved, err := r.addDestinations(found)
	if moved == nil {
		return err
	}

	// Without the lock: a slow link must not keep the redirect from being stopped.
	return errors.Join(err, r.tellMoved(*moved))
}

// addDestinations adds rules for destinations that have none. What a name led to once it may lead
// to again: many answers are one of several in turn. So nothing is forgotten. It returns what the
// laptop must be told, if anything. A rule that cannot be had now is tried again the next time,
// without another word.
func (r *redirectListener) addDestinations(found []netip.AddrPort) (*wire.Moved, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || r.suspended {
		return nil, nil
	}

	isNew := r.noteDestinations(found)
	missing := r.missingRules()
	var err error
	if len(missing) > 0 {
		var added []netfilter.Redirect
		added, err = r.ruleSet.changeRules(missing, nil)
		r.rules = append(r.rules, added...)
	}

	if !isNew {
		return nil, err
	}
	moved := &wire.Moved{ID: r.attach.ID, Full: r.full}
	moved.Addresses, moved.Endpoints = r.splitDestinations()
	return moved, err
}

// noteDestinations notes destinations as far as there is room, and reports whether any is new, or
// there is no more room for the first time. The caller holds mu.
func (r *redirectListener) noteDestinations(found []netip.AddrPort) (isNew bool) {
	for _, destination := range found {
		destination = netip.AddrPortFrom(destination.Addr().Unmap().WithZone(""), destination.Port())
		switch {
		case !destination.IsValid() || destination.Port() == 0 || slices.Contains(r.destinations, destination):
		case len(r.destinations) < maxDestinations:
			r.destinations = append(r.destinations, destination)
			isNew = true
		case !r.full:
			r.full, isNew = true, true
		}
	}
	return isNew
}

// missingRules returns the rules for destinations that have none. The caller holds mu.
func (r *redirectListener) missingRules() []netfilter.Redirect {
	has := map[netip.AddrPort]bool{}
	for _, rule := range r.rules {
		has[netip.AddrPortFrom(rule.Address, rule.Port)] = true
	}

	var missing []netfilter.Redirect
	for _, destination := range r.destinations {
		if !has[destination] {
			missing = append(missing, r.newRule(destination))
		}
	}
	return missing
}

// splitDestinations returns the destinations with the redirect's port, and the others. The caller
// holds mu.
func (r *redirectListener) splitDestinations() (addresses []netip.Addr, endpoints []netip.AddrPort) {
	for _, destination := range r.destinations {
		if destination.Port() == r.attach.Port {
			addresses = append(addresses, destination.Addr())
		} else {
			endpoints = append(endpoints, destination)
		}
	}
	return addresses, endpoints
}

// isDestination reports whether the redirect takes connections to a destination.
func (r *redirectListener) isDestination(to netip.AddrPort) bool {
	if to.Port() == r.attach.Port {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.destinations, to)
}

const (
	// burstTime bounds the lookups at the start, of which there are at most maxBurst. They end after
	// quietBurst that brought nothing new, or quietRotation if the answers differ.
	burstTime     = time.Second
	maxBurst      = 64
	quietBurst    = 2
	quietRotation = 16
)

// findDestinations looks the host up until the answers bring nothing new. If the pod does not know
// the host now, what the laptop knows will do.
func (r *redirectListener) findDestinations(ctx context.Context) (ttl time.Duration, err error) {
	r.noteDestinations(r.attach.Also)
	found, ttl, err := r.resolve(ctx, r.attach.Host)
	if err != nil && len(r.destinations) > 0 {
		r.log.Warn("follow the name", "host", r.attach.Host, "err", err)
		return unknownTTL, nil
	}
	if err != nil {
		return unknownTTL, err
	}
	r.noteDestinations(r.withPort(found))
	if _, err := netip.ParseAddr(r.attach.Host); err == nil {
		return unknownTTL, nil
	}

	ctx, cancel := context.WithTimeout(ctx, burstTime)
	defer cancel()
	patience := quietBurst
	for quiet, lookups := 0, 0; quiet < patience && lookups < maxBurst; lookups++ {
		found, _, err := r.resolve(ctx, r.attach.Host)
		if err != nil {
			break // what is known will do
		}

		quiet++
		if r.noteDestinations(r.withPort(found)) {
			quiet, patience = 0, quietRotation
		}
	}

	return ttl, nil
}

// coverMore adds the destinations that a laptop knows of.
func (s *redirectSession) coverMore(c wire.Cover) (struct{}, error) {
	s.mu.Lock()
	r := s.redirects[c.ID]
	s.mu.Unlock()
	if r == nil || r.attach.Host == "" {
		return struct{}{}, errors.New("no such redirect by name")
	}
	return struct{}{}, r.cover(c.Also)
}
