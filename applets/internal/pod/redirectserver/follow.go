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

// followInterval is how often a name is looked up again. Answers of a cluster's DNS are valid for
// 5 to 30 s (coredns, plugin kubernetes).
const followInterval = 10 * time.Second

// followName keeps the rules of a redirect by name at the addresses that the name has.
func (r *redirectListener) followName(ctx context.Context) {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.followNow:
		}

		if r.isSuspended() {
			continue
		}
		if err := r.refreshAddresses(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("follow the name", "host", r.attach.Host, "err", err)
		}
	}
}

// refreshAddresses looks the name up once, and changes the rules if it has other addresses now. A
// name that does not resolve at the moment keeps its rules.
func (r *redirectListener) refreshAddresses(ctx context.Context) error {
	now, err := resolveHost(ctx, r.attach.Host)
	if err != nil {
		return err
	}

	moved, err := r.moveRules(now)
	if !moved {
		return err
	}

	// Without the lock: a slow link must not keep the redirect from being stopped.
	return errors.Join(err, r.tellMoved(wire.Moved{ID: r.attach.ID, Addresses: now}))
}

// moveRules changes the rules if the addresses want others, and reports whether the laptop must
// be told. A rule that cannot be had now is tried again the next time, without another word.
func (r *redirectListener) moveRules(now []netip.Addr) (moved bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || r.suspended {
		return false, nil
	}

	kept, added, removed := r.compareRules(now)
	if len(added)+len(removed) > 0 {
		added, err = r.ruleSet.changeRules(added, removed)
		r.rules = append(kept, added...)
	}

	moved = !slices.Equal(r.addresses, now)
	r.addresses = now
	return moved, err
}

// compareRules sorts the rules that there are and those that the addresses want.
func (r *redirectListener) compareRules(now []netip.Addr) (kept, added, removed []netfilter.Redirect) {
	wanted := map[netip.Addr]bool{}
	for _, address := range now {
		wanted[address] = true
	}

	for _, rule := range r.rules {
		if wanted[rule.Address] {
			kept = append(kept, rule)
			delete(wanted, rule.Address)
		} else {
			removed = append(removed, rule)
		}
	}

	for _, address := range now {
		if wanted[address] {
			added = append(added, r.newRule(address))
		}
	}

	return kept, added, removed
}
