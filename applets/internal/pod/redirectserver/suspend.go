package redirectserver

import "context"

// suspendRules sends new connections where they went before, until armRules. The listener stays,
// and so do the connections that are there. It reports whether there is a redirect that it could
// suspend, or had.
func (r *redirectListener) suspendRules() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.crowded = false
	if r.detached || r.suspended {
		return !r.detached
	}

	if _, err := r.ruleSet.changeRules(nil, r.rules); err != nil {
		r.log.Error("suspend the redirect", "err", err)
		return true
	}

	r.suspended = true
	return true
}

// armRules puts the rules of a suspended redirect back into the kernel, all or none. Those that are
// out for want of room are left to leaveCrowd: until then no proof would be accepted either.
func (r *redirectListener) armRules() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || !r.suspended || r.crowded {
		return nil
	}

	if err := r.ruleSet.restoreRules(r.rules); err != nil {
		return err
	}

	r.suspended = false
	return nil
}

// proveRestored puts the redirect in force again, if it is not, and proves it.
func (r *redirectListener) proveRestored(ctx context.Context) error {
	if err := r.armRules(); err != nil {
		return err
	}

	// The name may have moved while it was not followed.
	select {
	case r.followNow <- struct{}{}:
	default:
	}

	unproven, err := r.proveRules(ctx)
	if unproven != "" {
		r.log.Debug("could not be proven again", "why", unproven)
	}
	return err
}

// needsProof reports whether the redirect was not proven since the laptop came back for so many
// times.
func (r *redirectListener) needsProof(returns uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.detached && r.provenAt < returns
}

// noteProof notes that a proof came to its end, whichever.
func (r *redirectListener) noteProof(returns uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.provenAt = max(r.provenAt, returns)
}

// isSuspended reports whether the rules are out of the kernel for now.
func (r *redirectListener) isSuspended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspended
}
