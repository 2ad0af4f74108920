package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
)

// carrier is one session that carries connections.
type carrier struct {
	session   *mux.Session
	ended     <-chan struct{} // closed when the session has ended
	accepting chan struct{}   // closed when no more connections come

	// These are guarded by the Client's mu.
	open map[*carried]struct{}
	cut  int // connections that ended with the session
}

// carried is one connection of a carrier's.
type carried struct{ carrier *carrier }

// SessionOptions returns the options for the session that Run is given.
func (c *Client) SessionOptions() mux.SessionOptions {
	o := mux.SessionOptions{Event: c.handleEvent, Lost: c.handleLost, Back: c.handleBack}
	if c.config.Redial != nil {
		o.Redial = c.redial
	}
	return o
}

// redial makes another connection to the manager, and remembers why it could not.
func (c *Client) redial(ctx context.Context) (net.Conn, error) {
	conn, err := c.config.Redial(ctx)
	if err != nil {
		c.outage.noteFailure(err)
	}
	return conn, err
}

func (c *Client) handleLost(cause error) {
	var silent time.Duration
	if on := c.currentCarrier(); on != nil {
		silent = on.session.SilentFor()
	}
	c.outage.connectionLost(cause, silent)
}

func (c *Client) handleBack(time.Duration) { c.outage.connectionBack() }

// Away returns since when there is no connection to the pod, or nil if there is one.
func (c *Client) Away() *Away { return c.outage.read() }

// carry serves the connections of a session from now on.
func (c *Client) carry(ctx context.Context, session *mux.Session) {
	on := &carrier{
		session: session, ended: session.Done(), accepting: make(chan struct{}), open: map[*carried]struct{}{},
	}
	c.mu.Lock()
	c.carrier = on
	c.mu.Unlock()

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(on.accepting)
		c.acceptConnections(serving, on)
		stopServing() // the session has ended, and with it every dial
	}()
}

// endCarrier closes a session. Its connections end by themselves, in their own time: a program
// here may still have to take what came before.
func (on *carrier) endCarrier() {
	_ = on.session.Close()
	<-on.accepting
}

// currentCarrier returns the session that connections come by, or nil.
func (c *Client) currentCarrier() *carrier {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carrier
}

// countOpen returns how many connections the current session carries.
func (c *Client) countOpen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.carrier == nil {
		return 0
	}
	return len(c.carrier.open)
}

// countCut returns how many connections ended with the last session, with those that only have to
// find out.
func (c *Client) countCut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastCarrier == nil {
		return 0
	}
	return len(c.lastCarrier.open) + c.lastCarrier.cut
}

// beginCarried notes that a connection is open.
func (c *Client) beginCarried(on *carrier) *carried {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := &carried{on}
	on.open[one] = struct{}{}
	return one
}

// endCarried notes how a connection has ended.
func (c *Client) endCarried(one *carried, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(one.carrier.open, one)
	select {
	case <-one.carrier.ended:
		if err != nil {
			one.carrier.cut++
			c.cut.Add(1)
		}
	default:
	}
}

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// serveSessions serves connections until ctx ends. When the session ends, it makes another one. It
// returns why there cannot be one, and nil once ctx has ended.
func (c *Client) serveSessions(ctx context.Context) error {
	for {
		if c.allYielded() {
			return ErrTakenOver
		}

		rearm, stop := c.whenToRearm()
		select {
		case <-c.yielded:
			stop()
		case <-ctx.Done():
			stop()
			return nil
		case <-c.currentCarrier().session.Done():
			stop()
			if err := c.renewSession(ctx); err != nil {
				return err
			}
		case <-rearm:
			c.armAgain(ctx, c.currentCarrier().session)
		case p := <-c.pauses:
			stop()
			c.pauseRedirects(p)
		case <-c.resumes:
			stop()
			c.armAgain(ctx, c.currentCarrier().session)
		}
	}
}

// renewSession makes another session with the same redirects in place of one that has ended. It
// returns nil if ctx ends before that.
func (c *Client) renewSession(ctx context.Context) error {
	last := c.currentCarrier()
	cause := last.session.Err()
	if c.config.Reopen == nil {
		return cause
	}

	c.outage.sessionEnded(cause, last.session.SilentFor())
	c.mu.Lock()
	c.lastCarrier = last
	c.mu.Unlock()
	last.endCarrier()

	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := c.reopen(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, mux.ErrGivenUp):
			return err
		}

		c.outage.noteFailure(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
	}
}

// reopen tries once to make another session with the same redirects.
func (c *Client) reopen(ctx context.Context) error {
	session, err := c.config.Reopen(ctx, c.SessionOptions())
	if err != nil {
		return err
	}

	c.carry(ctx, session)
	err = c.callOn(ctx, session, wire.RequestHello, c.hello(), nil)
	if err == nil {
		c.markUnarmed()
		c.armAgain(ctx, session)
		err = context.Cause(ctx)
	}
	if err == nil {
		err = session.Err()
	}
	if err != nil {
		c.currentCarrier().endCarrier()
		return fmt.Errorf("redirect again: %w", err)
	}

	if !c.allYielded() {
		c.outage.renewed()
	}
	return nil
}

// markUnarmed notes that the manager knows none of the redirects.
func (c *Client) markUnarmed() {
	for _, id := range c.redirectIDs() {
		c.findRedirect(id).markUnarmed()
	}
	c.refusals = 0
}

// armAgain asks for the redirects that are not there. Those that cannot be had, for example because
// somebody else has taken the port meanwhile, are asked for again later.
func (c *Client) armAgain(ctx context.Context, session *mux.Session) {
	refused := false
	for _, id := range c.redirectIDs() {
		r := c.findRedirect(id)
		if !r.isWanted() {
			continue
		}

		err := c.attach(ctx, session, id, r, true)
		if err == nil {
			continue
		}
		if isTakenOver(err) {
			c.observer.Problem(Problem{c.pod, err})
			c.yieldRedirect(r)
			continue
		}
		refused = true
		if ctx.Err() != nil || session.Err() != nil {
			return
		}
		if c.refusals+1 >= tellRefusals && r.noteRefusal(err.Error()) {
			c.observer.Problem(Problem{c.pod, err})
		}
	}

	c.refusals++
	if !refused {
		c.refusals = 0
	}
}

const (
	// tellRefusals is how often a redirect is refused until the user is told: what the last
	// session had may need a moment to go.
	tellRefusals = 3
	// maxRearm is the longest time between two attempts to have a redirect.
	maxRearm = 10 * time.Second
)

// whenToRearm returns a channel that says when to ask again for redirects that were refused.
func (c *Client) whenToRearm() (at <-chan time.Time, stop func()) {
	if c.refusals == 0 {
		return nil, func() {}
	}

	timer := time.NewTimer(min(firstBackoff<<min(c.refusals, 10), maxRearm))
	return timer.C, func() { timer.Stop() }
}

// redirectIDs returns the IDs of the redirects in the order of their making.
func (c *Client) redirectIDs() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.redirects))
}
