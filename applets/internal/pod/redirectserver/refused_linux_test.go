package redirectserver

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"kdiag/mux/wire"
)

// awaitRefused waits until the laptop is told of refusals for a reason, and returns their number.
func (v *visitor) awaitRefused(t *testing.T, why string) int64 {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case counted := <-v.refused:
			if count := counted.Counts[why]; count > 0 {
				return count
			}
		case <-late:
			t.Fatalf("nothing was told of what was refused: %s", why)
		}
	}
}

// TestRefusalsAreTold tells the laptop of every connection that the manager resets, with the reason.
func TestRefusalsAreTold(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	change := func(c *Config) { c.AwayPatience, c.PlacePatience = soon, soon }

	t.Run(wire.RefusedNoRoom, func(t *testing.T) {
		v := startManagerWith(t, change).visit(t, wire.Hello{Holder: "me@here"})
		v.attach(t)
		const many = 10
		pool := v.manager.server.pool
		taken := dialMany(t, many)
		eventually(t, "the connections", func() bool { return pool.count() == many })
		pool.setLimit(many)
		if got := greetMany(dialMany(t, 1)); got["reset"] != 1 {
			t.Errorf("one more connection: %v, want a reset", got)
		}

		if got := v.awaitRefused(t, wire.RefusedNoRoom); got != 1 {
			t.Errorf("told of %d connections, want 1", got)
		}
		_ = greetMany(taken)

		// The last word has it, too.
		if err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil); err != nil {
			t.Fatal(err)
		}
		var last wire.Farewell
		err := v.Call(t.Context(), wire.RequestBye, nil, &last)
		if err != nil || len(last.Refused) != 1 || last.Refused[0].Counts[wire.RefusedNoRoom] != 1 {
			t.Errorf("bye = %+v, %v, want one connection", last, err)
		}
	})

	t.Run(wire.RefusedAway, func(t *testing.T) {
		v := startManagerWith(t, change).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: wire.OnDisconnectReset})
		v.attach(t)
		s := v.stayAway(t)
		for range 3 {
			wantGreeting(t, "reset", "while the laptop is away")
		}
		v.comeBack(t, s)
		if got := v.awaitRefused(t, wire.RefusedAway); got != 3 {
			t.Errorf("told of %d connections, want 3", got)
		}
	})

	t.Run(wire.RefusedByApplication, func(t *testing.T) {
		v := startManagerWith(t, change).visit(t, wire.Hello{Holder: "me@here"})
		const port = uint16(appPort + 5) // where nobody listens
		request := wire.Attach{ID: 1, Port: port, Probes: []wire.Probe{healthz}}
		if err := v.Call(t.Context(), wire.RequestAttach, request, nil); err != nil {
			t.Fatal(err)
		}

		conn, err := net.Dial("tcp", net.JoinHostPort(podIPv4, fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, kubeletRequest)
		if got := greeting(conn); got != "reset" {
			t.Errorf("%q answers, want a reset", got)
		}
		if got := v.awaitRefused(t, wire.RefusedByApplication); got != 1 {
			t.Errorf("told of %d connections, want 1", got)
		}
	})

	t.Run(wire.RefusedStranger, func(t *testing.T) {
		v := startManagerWith(t, change).visit(t, wire.Hello{Holder: "me@here"})
		v.attach(t)
		port := v.served(t).listRedirects()[0].port()
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			if got := greeting(conn); got != "reset" {
				t.Errorf("%q answers, want a reset", got)
			}
			_ = conn.Close()
		}
		if got := v.awaitRefused(t, wire.RefusedStranger); got != 1 {
			t.Errorf("told of %d connections, want 1", got)
		}
	})
}
