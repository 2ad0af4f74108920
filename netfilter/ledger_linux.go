package netfilter

import (
	"errors"
	"fmt"
	"sync"
)

// ledger is what both back ends share: what is attached, and who else has what.
type ledger struct {
	id      string
	alive   alive
	others  *neighbours
	mu      sync.Mutex
	closed  bool
	entries map[key]Redirect
}

// attach looks again after it has added: of two managers that wanted the same
// at the same moment, at least one sees the other then, and gives way.
func (l *ledger) attach(r Redirect, add, remove func(Redirect) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("redirect %s: %w", r.what(), err) }
	if l.closed {
		return fail(errClosed)
	}
	if err := r.check(); err != nil {
		return fail(err)
	}
	if err := l.livingConflict(r); err != nil {
		return err
	}
	if err := add(r); err != nil {
		return fail(err)
	}
	if err := l.conflict(r); err != nil {
		return errors.Join(err, remove(r))
	}

	l.entries[r.key()] = r
	return nil
}

// livingConflict is a conflict that stays when dead managers have been swept.
func (l *ledger) livingConflict(r Redirect) error {
	err := l.conflict(r)
	if err == nil {
		return nil
	}
	if sweepErr := l.others.sweep(""); sweepErr != nil {
		return errors.Join(err, sweepErr)
	}
	return l.conflict(r)
}

// conflict is why a redirect cannot be attached beside those that are there.
func (l *ledger) conflict(r Redirect) error {
	claims, err := l.others.claims(l.id)
	if err != nil {
		return fmt.Errorf("redirect %s: other managers' redirects: %w", r.what(), err)
	}

	for _, own := range l.entries {
		claims = append(claims, own)
	}

	for _, c := range claims {
		switch {
		case c.key() == r.key():
			return &HeldError{Redirect: r, Holder: c.Holder}
		case r.Direction == Incoming && r.Port == c.Listener:
			return fmt.Errorf("redirect %s: the port is a listener of %q", r.what(), c.Holder)
		case c.Direction == Incoming && c.Port == r.Listener:
			return fmt.Errorf("redirect %s: listener %d is redirected by %q", r.what(), r.Listener, c.Holder)
		}
	}

	return nil
}

func (l *ledger) detach(r Redirect, remove func(Redirect) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	fail := func(err error) error { return fmt.Errorf("end redirect %s: %w", r.what(), err) }
	if l.closed {
		return fail(errClosed)
	}

	attached, ok := l.entries[r.key()]
	if !ok {
		return fail(errNotAttached)
	}
	if err := remove(attached); err != nil {
		return fail(err)
	}

	delete(l.entries, r.key())
	return nil
}

// end runs what takes the back end's rules away, and gives up the id.
func (l *ledger) end(remove func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := errors.Join(remove(), l.others.close())
	l.alive.release()
	return err
}
