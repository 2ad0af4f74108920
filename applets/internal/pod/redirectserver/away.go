package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
)

const (
	// defaultGrace is how long a session outlives its connection if the laptop does not say, and
	// maxGrace the most that a laptop may say.
	defaultGrace = time.Minute
	maxGrace     = time.Hour
	// defaultAwayPatience is how long new connections wait for a laptop that is silent, unless
	// the session holds them for as long as its grace.
	defaultAwayPatience = 10 * time.Second
)

// An attendance says whether a session's laptop is there. The session's mu guards it.
type attendance struct {
	away    bool
	since   time.Time   // when it went
	overdue bool        // it has been away for longer than new connections wait for it
	timer   *time.Timer // until it is overdue
	returns uint64      // how often it came back
}

// sessionGrace returns how long a session outlives its connection, as its laptop has asked.
func sessionGrace(h wire.Hello) (time.Duration, error) {
	switch {
	case h.GraceSeconds == 0:
		return defaultGrace, nil
	case h.GraceSeconds < 0:
		return 0, errors.New("the grace must not be negative")
	case h.GraceSeconds > maxGrace.Seconds():
		return 0, fmt.Errorf("the grace must be at most %.0f s, not %.0f s", maxGrace.Seconds(), h.GraceSeconds)
	}

	return max(time.Duration(h.GraceSeconds*float64(time.Second)), 1), nil
}

// olderManagerHint is the hint where a laptop asks for what this manager does not know.
const olderManagerHint = "the manager in the pod may be an older version of kdiag"

// disconnectPolicy returns what new connections do while the laptop is away, as it has asked.
func disconnectPolicy(h wire.Hello) (string, error) {
	switch h.OnDisconnect {
	case "":
		return wire.OnDisconnectApp, nil
	case wire.OnDisconnectApp, wire.OnDisconnectHold, wire.OnDisconnectReset:
		return h.OnDisconnect, nil
	}

	return "", refuseRequest(wire.CodeUnsupported, olderManagerHint,
		"unknown choice of what happens on disconnect: %.32q", h.OnDisconnect)
}

// noteLost begins to wait for the laptop, as mux.SessionOptions.Lost. It is not called before the
// laptop has said hello.
func (s *redirectSession) noteLost(error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}

	s.laptopIs.away, s.laptopIs.since = true, time.Now()
	s.noteAttendance()
	if s.onDisconnect != wire.OnDisconnectHold {
		s.startPatience()
	}
}

// startPatience has noteOverdue called once the laptop has been silent for too long. mu is held.
func (s *redirectSession) startPatience() {
	left := s.server.config.AwayPatience - s.laptop.SilentFor()
	returns := s.laptopIs.returns
	s.laptopIs.timer = time.AfterFunc(max(left, 0), func() { s.noteOverdue(returns) })
}

// noteOverdue ends the patience with a laptop that has not come back since it had come back so many
// times.
func (s *redirectSession) noteOverdue(returns uint64) {
	s.mu.Lock()
	if s.ended || !s.laptopIs.away || s.laptopIs.returns != returns {
		s.mu.Unlock()
		return
	}

	s.laptopIs.overdue = true
	s.noteAttendance()
	s.interruptSettling() // no proof must hold this up
	s.mu.Unlock()

	s.settleRedirects()
}

// noteBack has every redirect made good and proven, as mux.SessionOptions.Back.
func (s *redirectSession) noteBack(time.Duration) {
	s.mu.Lock()
	s.laptopIs.away, s.laptopIs.overdue = false, false
	s.laptopIs.returns++
	s.noteAttendance()
	s.stopPatience()
	s.mu.Unlock()

	s.settleRedirects()
}

// countReturns returns how often the laptop has come back.
func (s *redirectSession) countReturns() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.laptopIs.returns
}

// stopPatience stops the timer, if there is one. mu is held.
func (s *redirectSession) stopPatience() {
	if s.laptopIs.timer != nil {
		s.laptopIs.timer.Stop()
		s.laptopIs.timer = nil
	}
}

// awaySince reports whether the laptop is away, and since when.
func (s *redirectSession) awaySince() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.laptopIs.since, s.laptopIs.away
}

// settleRedirects brings every redirect to what the laptop's absence or presence asks for, in a
// goroutine of its own. If one is at it, it goes round once more.
func (s *redirectSession) settleRedirects() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.unsettled = true
	if !s.settling && !s.ended {
		s.settling = true
		s.helpers.Go(s.settleUntilDone)
	}
}

// settleUntilDone settles the redirects until nothing has changed meanwhile, or the session ends.
func (s *redirectSession) settleUntilDone() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		settle := s.nextSettlement(cancel)
		if settle == nil {
			cancel()
			return
		}

		// Side by side, since a proof may take a while.
		var all sync.WaitGroup
		for _, r := range settle.redirects {
			all.Go(func() { s.settleRedirect(ctx, r, settle.laptop, settle.onDisconnect) })
		}
		all.Wait()
		cancel()
	}
}

// A settlement is what redirects are to be brought to.
type settlement struct {
	redirects    []*redirectListener
	laptop       attendance
	onDisconnect string
}

// nextSettlement returns what has to be settled, or nil if nothing has. interrupt ends it early.
func (s *redirectSession) nextSettlement(interrupt context.CancelFunc) *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || !s.unsettled {
		s.settling = false
		return nil
	}

	s.unsettled = false
	s.interruptSettling = interrupt
	return &settlement{slices.Collect(maps.Values(s.redirects)), s.laptopIs, s.onDisconnect}
}

// settleRedirect brings one redirect to what a laptop's absence or presence asks for.
func (s *redirectSession) settleRedirect(ctx context.Context, r *redirectListener, laptop attendance, onDisconnect string) {
	switch {
	case !laptop.overdue:
		s.restoreRedirect(ctx, r, laptop.returns)
	case onDisconnect == wire.OnDisconnectApp:
		r.suspendRules()
	}
}

// restoreRedirect puts a redirect in force again after a number of returns, proves it, and tells
// the laptop if it does not work. Then it leaves the port to the application until the next return.
func (s *redirectSession) restoreRedirect(ctx context.Context, r *redirectListener, returns uint64) {
	if !r.needsProof(returns) {
		return
	}

	err := r.proveRestored(ctx)
	if ctx.Err() != nil {
		return // it is settled again, or over
	}

	r.noteProof(returns)
	if err != nil && r.suspendRules() {
		r.log.Warn("the redirect does not work any more", "err", err)
		s.tellTrouble(r.attach.ID, err)
	}
}

// tellTrouble tells the laptop that a redirect does not work. It does not wait for the link.
func (s *redirectSession) tellTrouble(id uint32, err error) {
	trouble := wire.Troubled{ID: id, Message: err.Error()}
	var refused *mux.RemoteError
	if errors.As(err, &refused) {
		trouble.Message, trouble.Hint = refused.Message, refused.Hint
	}
	s.noteTrouble(trouble)
}
