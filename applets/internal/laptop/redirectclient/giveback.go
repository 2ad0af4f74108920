package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kdiag/applets/internal/laptop/units"
	"kdiag/mux"
	"kdiag/mux/wire"
)

const (
	// detachTimeout bounds the wait for the manager to give new connections back.
	detachTimeout = 5 * time.Second
	// minDrain is the least that a drain takes: the end of a connection that is
	// over here may still be on its way to its caller.
	minDrain = time.Second
)

// giveBack has new connections go where they went before, and waits for those
// in flight until they have ended on both sides, for the drain's time at most.
func (c *Client) giveBack(ctx context.Context) {
	if len(c.redirectIDs()) == 0 {
		return
	}

	lost := c.outage.whenLost()
	if away := c.Away(); away != nil {
		c.reportUntold(away)
		return // its connections are reset with the session
	}

	ctx = context.WithoutCancel(ctx)
	session := c.currentCarrier().session
	if !c.detachAll(ctx, session, lost) {
		return
	}

	if open := c.open.Load(); open > 0 {
		c.observer.DrainStarted(DrainStarted{c.pod, open, c.config.Drain, c.allYielded()})
	}

	draining, cancel := context.WithTimeout(ctx, max(c.config.Drain, minDrain))
	defer cancel()
	// Its only failure is that the time is up, or the session over.
	var last wire.Farewell
	_ = session.Call(draining, wire.RequestBye, nil, &last)
	for _, counted := range last.Refused {
		c.handleRefused(counted)
	}
}

// detachAll ends every redirect. It reports false if the connection, or the session, was lost
// meanwhile.
func (c *Client) detachAll(ctx context.Context, session *mux.Session, lost <-chan struct{}) bool {
	ctx, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	go cancelWhen(ctx, cancel, lost)

	for _, id := range c.redirectIDs() {
		r := c.findRedirect(id)
		r.silence()
		if !r.isArmed() {
			continue
		}

		var detached wire.Detached
		err := session.Call(ctx, wire.RequestDetach, wire.Detach{ID: id}, &detached)
		if err == nil {
			r.noteProbed(detached.Probed)
			c.handleRefused(detached.Refused)
		}

		if away := c.Away(); err != nil && away != nil {
			c.reportUntold(away)
			return false
		}
		if session.Err() != nil {
			return false
		}
		if err != nil {
			c.observer.Problem(Problem{c.pod, c.explain("stop redirecting "+r.String(), err)})
		}
	}

	return true
}

// outlast returns a context that ends some time after another one was cancelled, and together with one
// whose time is up.
func outlast(ctx context.Context, by time.Duration) (longer context.Context, cancel func()) {
	longer, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			select {
			case <-time.After(by):
			case <-longer.Done():
			}
		}
		end(context.Cause(ctx))
	})
	return longer, func() { stop(); end(nil) }
}

// cancelWhen cancels a context when something happens.
func cancelWhen(ctx context.Context, cancel context.CancelFunc, happens <-chan struct{}) {
	select {
	case <-happens:
		cancel()
	case <-ctx.Done():
	}
}

// givenBackAfter is how long the manager waits for a laptop that is away until it gives new
// connections back, where that is what it does.
const givenBackAfter = 10 * time.Second

// reportUntold says how long redirects are still in force in the pod, where the manager cannot be
// told of their end.
func (c *Client) reportUntold(away *Away) {
	left := c.config.Grace
	does := "wait there"
	switch c.config.OnDisconnect {
	case wire.OnDisconnectHold:
	case wire.OnDisconnectReset:
		does = "are reset"
	default:
		left, does = min(left, givenBackAfter), "come to kdiag's container"
	}

	left -= time.Since(away.Since)
	if left <= 0 || away.renewing {
		return
	}
	c.observer.Problem(Problem{c.pod, fmt.Errorf("pod %s cannot be told: new connections %s for up to %s more, and then reach the application again",
		c.pod, does, units.Span(max(left.Round(time.Second), time.Second).Seconds()))})
}
