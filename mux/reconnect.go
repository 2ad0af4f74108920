package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"kdiag/mux/resumable"
)

// ErrGivenUp is in the error of a Redial that need not be tried again, and of the session then.
var ErrGivenUp = errors.New("the connection will not come back")

// ErrGone ends a session whose connection was gone for longer than KeepFor allows.
var ErrGone = errors.New("the other side was gone for too long")

// SilentError is in the cause of a loss when nothing came from the peer for too long.
type SilentError = resumable.SilentError

// outage is what a session knows of a lost connection.
type outage struct {
	mu     sync.Mutex // held during Lost and Back, which come in order
	lost   bool
	since  time.Time // when the last byte had come
	keep   time.Duration
	expiry *time.Timer
}

// KeepFor sets how long the session outlives its connection. 0, the default, ends it at once,
// unless there is a Redial, which goes on for ever.
func (s *Session) KeepFor(d time.Duration) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	s.outage.keep = d
}

// handleLost tells that the connection was lost, and has it replaced. It ignores the loss of one
// that was replaced already.
func (s *Session) handleLost(cause error) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if s.ctx.Err() != nil || s.outage.lost || s.link.Connected() {
		return
	}

	if isCut(cause) {
		cause = &cutError{"connection lost", cause} // which of them it was, only Unwrap tells
	}
	s.outage.lost, s.outage.since = true, time.Now().Add(-s.link.SilentFor())
	switch {
	case s.options.Redial != nil:
		s.runTracked(s.redial)
	case s.outage.keep <= 0:
		go s.endSession(cause)
		return
	default:
		s.outage.expiry = time.AfterFunc(s.outage.keep, func() {
			s.endSession(fmt.Errorf("%w: %w", ErrGone, cause))
		})
	}
	s.options.Lost(cause)
}

// stopExpiry stops the grace of a session that has ended.
func (s *Session) stopExpiry() {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	s.outage.stopExpiry()
}

// stopExpiry stops the grace, if it has begun. mu is held.
func (o *outage) stopExpiry() {
	if o.expiry != nil {
		o.expiry.Stop()
		o.expiry = nil
	}
}

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 2 * time.Second
	// redialTimeout bounds one attempt. What hangs is tried anew: a network that is back does not
	// always revive what was begun before.
	redialTimeout = 5 * time.Second
)

// redial replaces a lost connection, however long that takes.
func (s *Session) redial() {
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := s.redialOnce()
		if err == nil || s.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errUnknownSession) || errors.Is(err, ErrGivenUp) {
			go s.endSession(err)
			return
		}

		s.options.Log.Debug("connect again", "err", err)
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(backoff):
		}
	}
}

// redialOnce tries once to go on with another connection.
func (s *Session) redialOnce() error {
	ctx, cancel := context.WithTimeout(s.ctx, redialTimeout)
	defer cancel()
	conn, err := s.options.Redial(ctx)
	if err != nil {
		return err
	}

	h := hello{kind: helloResume, id: s.id, received: s.link.Received()}
	ready, received, err := s.credential.join(ctx, conn, h)
	if err != nil {
		return err
	}
	if err := s.resume(ready, received); err != nil {
		return fmt.Errorf("%w: %w", ErrGivenUp, err)
	}
	return nil
}

// resume goes on with a connection whose peer has received so many bytes, and tells so. If that
// connection is lost at once, handleLost waits until it was told.
func (s *Session) resume(conn net.Conn, peerReceived uint64) error {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	if err := s.link.Resume(conn, peerReceived); err != nil || !s.outage.lost {
		return err
	}

	s.outage.lost = false
	s.outage.stopExpiry()
	s.options.Back(time.Since(s.outage.since))
	return nil
}
