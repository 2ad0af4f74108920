package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A heldRedirect is a redirect of another session of the same user.
type heldRedirect struct {
	session  *redirectSession
	redirect *redirectListener
}

// claimRules takes what a new redirect needs from other sessions of the same user, of which this
// manager has all: from those that hang or whose laptop is away. It refuses the redirect, and takes
// nothing, if one of them lives.
func (s *redirectSession) claimRules(ctx context.Context, a wire.Attach, rules []netfilter.Redirect) error {
	holders := s.server.findHolders(s, rules)
	for _, held := range holders {
		if !s.isSameRun(held.session) && (a.Again || held.session.showsLife(ctx)) {
			return held.refuse(a.Port)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}

	for _, held := range holders {
		if err := held.redirect.stopForOther(); err != nil {
			return fmt.Errorf("take the redirect over: %w", err)
		}
		held.redirect.log.Info("taken over by another session", "holder", s.holderName())
		if !s.isSameRun(held.session) {
			held.session.tellTakenOver(held.redirect.attach.ID, s.holderName())
		}
	}

	return nil
}

// findHolders returns the redirects of other sessions that have one of several rules, in the kernel
// or suspended.
func (s *Server) findHolders(except *redirectSession, rules []netfilter.Redirect) []heldRedirect {
	s.mu.Lock()
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()

	var found []heldRedirect
	for _, session := range sessions {
		if session == except {
			continue
		}
		for _, r := range session.listRedirects() {
			if r.hasRule(rules) {
				found = append(found, heldRedirect{session, r})
			}
		}
	}

	return found
}

// listRedirects returns the session's redirects.
func (s *redirectSession) listRedirects() []*redirectListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.redirects))
}

// hasRule reports whether a redirect that was not stopped has one of several rules.
func (r *redirectListener) hasRule(rules []netfilter.Redirect) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.detached && slices.ContainsFunc(r.rules, func(own netfilter.Redirect) bool {
		return slices.ContainsFunc(rules, func(other netfilter.Redirect) bool { return isSameRule(own, other) })
	})
}

// isSameRule reports whether two rules want the same connections.
func isSameRule(a, b netfilter.Redirect) bool {
	return a.Direction == b.Direction && a.Port == b.Port && a.Address == b.Address
}

// isSameRun reports whether two sessions are of the same run of kdiag, which knows of both.
func (s *redirectSession) isSameRun(other *redirectSession) bool {
	run := s.runID()
	return run != "" && run == other.runID()
}

func (s *redirectSession) runID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}

func (s *redirectSession) holderName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder
}

// lifeTimeout is how long a laptop that has a connection may be silent when it is asked whether it
// lives.
const lifeTimeout = 2 * time.Second

// showsLife reports whether the session's laptop is there and lives. It asks, and any byte counts
// for an answer: a laptop that is busy may be slow to give one.
func (s *redirectSession) showsLife(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lifeTimeout)
	defer cancel()
	answered := make(chan error, 1)
	if !s.beginAsking(func() { answered <- s.laptop.Call(ctx, wire.RequestAlive, nil, nil) }) {
		return false
	}

	var err error
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}

	if _, away := s.awaySince(); away || s.laptop.Err() != nil {
		return false
	}
	var refused *mux.RemoteError
	return err == nil || errors.As(err, &refused) || s.laptop.SilentFor() < lifeTimeout/2
}

// beginAsking has a laptop asked in a goroutine of the session's, unless the laptop is away or the
// session over.
func (s *redirectSession) beginAsking(ask func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.laptopIs.away {
		return false
	}
	s.tellers.Go(ask)
	return true
}

// refuse says that the redirect is held by another session of the user's, which lives.
func (h heldRedirect) refuse(port uint16) error {
	return refuseRequest(wire.CodeOwn, "end that session, or choose another port",
		"port %d is already redirected by another session of yours (%s, for %s)",
		port, h.session.holderName(), time.Since(h.redirect.began).Round(time.Second))
}

// tellTakenOver tells a laptop that another session has one of its redirects now. It does not wait
// for the link.
func (s *redirectSession) tellTakenOver(id uint32, holder string) {
	s.noteTrouble(wire.Troubled{
		ID: id, Code: wire.CodeOwn, Message: fmt.Sprintf("another session of yours (%s) has taken it over", holder),
	})
}
