package redirectclient

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"kdiag/mux/wire"
)

const (
	// findInterval is how often destinations are looked for again, and findTimeout bounds each look.
	findInterval = 10 * time.Second
	findTimeout  = 5 * time.Second
	// maxDestinations is how many a manager keeps.
	maxDestinations = 256
)

// findDestinations returns where connections to a redirect's host go, as far as this machine knows:
// those that the manager, or the one before it, has told of, and those that FindDestinations
// returns. It reports once why it could not find any.
func (c *Client) findDestinations(ctx context.Context, r *redirect) []netip.AddrPort {
	if !r.Outgoing || r.Host == "" {
		return nil
	}

	var found []netip.AddrPort
	if c.config.FindDestinations != nil {
		ctx, cancel := context.WithTimeout(ctx, findTimeout)
		defer cancel()
		var err error
		if found, err = c.config.FindDestinations(ctx, r.Spec); err != nil && ctx.Err() == nil && r.noteOnce(err.Error()) {
			c.observer.Problem(Problem{c.pod, err})
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	for _, known := range r.known {
		if !slices.Contains(found, known) {
			found = append(found, known)
		}
	}
	return found[:min(len(found), maxDestinations)]
}

// noteOnce reports whether a text was not noted last.
func (r *redirect) noteOnce(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	isNew := r.noted != text
	r.noted = text
	return isNew
}

// followDestinations keeps redirects by name at what FindDestinations returns, until stop is called.
func (c *Client) followDestinations(ctx context.Context) (stop func()) {
	if c.config.FindDestinations == nil {
		return func() {}
	}

	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		tick := time.NewTicker(findInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			c.coverDestinations(ctx)
		}
	})

	return func() {
		cancel()
		following.Wait()
	}
}

// coverDestinations tells the manager of destinations that it does not know.
func (c *Client) coverDestinations(ctx context.Context) {
	for _, id := range c.redirectIDs() {
		r := c.findRedirect(id)
		if r.Host == "" || !r.isArmed() || c.Away() != nil {
			continue
		}

		found := c.findDestinations(ctx, r)
		if r.knowsAll(found) {
			continue
		}
		// A manager that does not know the request goes on as it is.
		_ = c.call(ctx, wire.RequestCover, wire.Cover{ID: id, Also: found}, nil)
	}
}

// knowsAll reports whether all of several destinations are known.
func (r *redirect) knowsAll(found []netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(found, func(d netip.AddrPort) bool { return !slices.Contains(r.known, d) })
}
