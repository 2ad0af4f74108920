package netfilter

import (
	"errors"
	"fmt"
	"sync"
)

// redirectLedger records the redirects of this manager and knows those of others. Both
// back ends embed it.
type redirectLedger struct {
	id string
	// keepsAddress says that Incoming redirects change the port alone.
	keepsAddress bool
	lock         idLock
	kernel       *kernelState
	mu           sync.Mutex
	closed       bool
	attached     map[redirectKey]Redirect
}

// addRedirect records a redirect that add puts into the kernel.
func (l *redirectLedger) addRedirect(r Redirect, add, remove func(Redirect) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	fail := func(err error) error { return fmt.Errorf("redirect %s: %w", r.describe(), err) }
	if l.closed {
		return fail(errClosed)
	}
	if err := r.validate(); err != nil {
		return fail(err)
	}
	if err := l.findLivingConflict(r); err != nil {
		return err
	}
	if err := add(r); err != nil {
		return fail(err)
	}

	// Another manager may have added the same since the first look. Both look
	// again, so at least one of the two sees the other and gives way.
	if err := l.findConflict(r); err != nil {
		return errors.Join(err, remove(r))
	}

	l.attached[r.key()] = r
	return nil
}

// findLivingConflict returns why a redirect cannot be added, after it has swept
// away the conflicts that dead managers left.
func (l *redirectLedger) findLivingConflict(r Redirect) error {
	err := l.findConflict(r)
	if err == nil {
		return nil
	}

	if sweepErr := l.kernel.sweepDeadManagers(""); sweepErr != nil {
		return errors.Join(err, sweepErr)
	}

	return l.findConflict(r)
}

// findConflict returns why a redirect cannot be added to those that are there, its
// own manager's and others'.
func (l *redirectLedger) findConflict(r Redirect) error {
	existing, err := l.kernel.listRedirects(l.id)
	if err != nil {
		return fmt.Errorf("redirect %s: list redirects of other managers: %w", r.describe(), err)
	}

	for _, own := range l.attached {
		existing = append(existing, own)
	}

	for _, e := range existing {
		switch {
		case e.key() == r.key():
			return &HeldError{Redirect: r, Holder: e.Holder}
		case r.Direction == Incoming && r.Port == e.Listener:
			return fmt.Errorf("redirect %s: %q already uses this port as a listener", r.describe(), e.Holder)
		case e.Direction == Incoming && e.Port == r.Listener:
			return fmt.Errorf("redirect %s: %q already redirects listener port %d", r.describe(), e.Holder, r.Listener)
		}
	}

	return nil
}

// removeRedirect forgets a redirect that remove takes out of the kernel.
func (l *redirectLedger) removeRedirect(r Redirect, remove func(Redirect) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	fail := func(err error) error { return fmt.Errorf("end redirect %s: %w", r.describe(), err) }
	if l.closed {
		return fail(errClosed)
	}

	attached, ok := l.attached[r.key()]
	if !ok {
		return fail(errNotAttached)
	}
	if err := remove(attached); err != nil {
		return fail(err)
	}

	delete(l.attached, r.key())
	return nil
}

// closeWith runs remove, which takes the back end's rules away, and then releases
// the id: others may sweep what has it from there on.
func (l *redirectLedger) closeWith(remove func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.closed = true
	err := errors.Join(remove(), l.kernel.close())
	l.lock.release()
	return err
}
