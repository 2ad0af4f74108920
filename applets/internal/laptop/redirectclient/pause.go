package redirectclient

import (
	"context"
	"time"

	"kdiag/mux/wire"
)

// pauseTimeout bounds how long the manager may take to give new connections back before this process
// is stopped.
const pauseTimeout = 2 * time.Second

// Pause has new connections go where they went before, because this process is about to be stopped,
// until Resume. It does nothing unless Run serves connections, and returns when that is done, or after
// pauseTimeout.
func (c *Client) Pause(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pauseTimeout)
	defer cancel()
	done := make(chan struct{})
	select {
	case c.pauses <- pauseRequest{ctx, done}:
	case <-ctx.Done():
		return
	}

	select {
	case <-done:
	case <-ctx.Done():
	}
}

// A pauseRequest asks Run to pause, and is told when that is done.
type pauseRequest struct {
	ctx  context.Context
	done chan struct{}
}

// Resume ends what Pause has begun. It does not wait.
func (c *Client) Resume() {
	select {
	case c.resumes <- struct{}{}:
	default: // one is under way
	}
}

// pauseRedirects gives new connections back, and tells of it.
func (c *Client) pauseRedirects(p pauseRequest) {
	defer close(p.done)
	if c.Away() != nil {
		return // the manager cannot be told; what new connections do is known
	}

	session := c.currentCarrier().session
	for _, id := range c.redirectIDs() {
		r := c.findRedirect(id)
		if !r.isArmed() {
			continue
		}
		var detached wire.Detached
		if err := session.Call(p.ctx, wire.RequestDetach, wire.Detach{ID: id}, &detached); err != nil {
			c.observer.Problem(Problem{c.pod, c.explain("stop redirecting "+r.String(), err)})
			return
		}
		r.noteProbed(detached.Probed)
		c.handleRefused(detached.Refused)
		c.renumber(id, r)
	}

	c.observer.Paused(Paused{c.pod, c.open.Load(), c.config.Grace})
}

// renumber gives a redirect another ID, since a manager takes each only once. Connections go on under
// the one that they came by.
func (c *Client) renumber(id uint32, r *redirect) {
	r.markUnarmed()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.redirects, id)
	c.former[id] = r
	c.lastID++
	c.redirects[c.lastID] = r
}
