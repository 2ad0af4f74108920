package redirectclient

import (
	"encoding/json"

	"kdiag/mux"
	"kdiag/mux/wire"
)

// findRedirect returns nil for an ID that no redirect has.
func (c *Client) findRedirect(id uint32) *redirect {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.redirects[id]; r != nil {
		return r
	}
	return c.former[id]
}

// handleEvent reads what the manager says of its own accord.
func (c *Client) handleEvent(name string, body json.RawMessage) {
	switch name {
	case wire.EventMoved:
		readEvent(body, c.handleMoved)
	case wire.EventTroubled:
		readEvent(body, c.handleTroubled)
	case wire.EventRefused:
		readEvent(body, c.handleRefused)
	case wire.EventProbed:
		readEvent(body, c.handleProbed)
	}
}

// readEvent passes on the body of an event, unless it cannot be read.
func readEvent[T any](body json.RawMessage, handle func(T)) {
	var event T
	if json.Unmarshal(body, &event) == nil {
		handle(event)
	}
}

func (c *Client) handleMoved(moved wire.Moved) {
	if r := c.findRedirect(moved.ID); r != nil {
		r.reportMoved(c.observer, RedirectMoved{Pod: c.pod, Redirect: r.Spec, Addresses: moved.Addresses, Endpoints: moved.Endpoints, Full: moved.Full})
	}
}

func (c *Client) handleTroubled(troubled wire.Troubled) {
	if r := c.findRedirect(troubled.ID); r != nil {
		err := c.explain("redirect "+r.String(), &mux.RemoteError{Code: troubled.Code, Message: troubled.Message, Hint: troubled.Hint})
		c.observer.Problem(Problem{c.pod, err})
		if isTakenOver(err) {
			c.yieldRedirect(r)
		}
	}
}
