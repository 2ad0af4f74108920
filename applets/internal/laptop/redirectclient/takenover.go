package redirectclient

import (
	"errors"

	"kdiag/mux"
	"kdiag/mux/wire"
)

// ErrTakenOver ends a client that has no redirect left.
var ErrTakenOver = errors.New("another session of yours has taken over every redirect")

// isTakenOver reports whether a manager's error says that another session of the user's has the
// redirect.
func isTakenOver(err error) bool {
	var refused *mux.RemoteError
	return errors.As(err, &refused) && refused.Code == wire.CodeOwn
}

// yieldRedirect leaves a redirect to the session that has taken it over: it is not asked for again.
// Its connections go on.
func (c *Client) yieldRedirect(r *redirect) {
	r.mu.Lock()
	r.armed, r.yielded = false, true
	r.mu.Unlock()

	select {
	case c.yielded <- struct{}{}:
	default:
	}
}

// isWanted reports whether the redirect is to be asked for: the manager does not have it, and no
// other session has taken it over.
func (r *redirect) isWanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.armed && !r.yielded
}

// allYielded reports whether no redirect is left.
func (c *Client) allYielded() bool {
	ids := c.redirectIDs()
	for _, id := range ids {
		r := c.findRedirect(id)
		r.mu.Lock()
		yielded := r.yielded
		r.mu.Unlock()
		if !yielded {
			return false
		}
	}

	return len(ids) > 0
}
