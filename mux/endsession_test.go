package mux

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestEndSession ends a session from outside, whether it has a connection or waits for one, and no
// other session.
func TestEndSession(t *testing.T) {
	for name, cut := range map[string]bool{"connected": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			c := newCutter(t)
			never := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
			client, server := c.connectBy(t, SessionOptions{}, never)
			if cut {
				c.cut(0)
				waitUntil(t, "the loss", func() bool { return !server.Connected() })
			}
			_, other := c.connectBy(t, SessionOptions{}, never)

			end := func(ticket string) error {
				conn, err := c.dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return EndSession(t.Context(), conn, c.host.user, c.host.hash, ticket)
			}
			for range 2 { // the second time it is over already
				if err := end(client.Ticket()); err != nil {
					t.Errorf("end = %v", err)
				}
			}

			<-server.Done()
			if err := server.Err(); !errors.Is(err, ErrEndedElsewhere) {
				t.Errorf("the session ended by %v, want %v", err, ErrEndedElsewhere)
			}
			if err := other.Err(); err != nil {
				t.Errorf("another session ended: %v", err)
			}
			if err := end("nothing"); err == nil {
				t.Error("a ticket that names no session ends one")
			}
		})
	}
}
