package redirectserver

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// callerPort is where a caller calls from again and again, as one does that opens many connections.
const callerPort = 40123

// greetingFrom calls from callerPort, and returns who answers, or "refused". The connection ends by a
// reset, so that nothing of it is left with the caller.
func greetingFrom(t *testing.T) (conn net.Conn, who string) {
	t.Helper()
	dialer := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.ParseIP(podIPv4), Port: callerPort}, Timeout: 20 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			controlErr := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
			})
			return errors.Join(err, controlErr)
		},
	}
	conn, err := dialer.DialContext(t.Context(), "tcp", podIPv4+appAddress)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, "refused"
		}
		if errors.Is(err, syscall.ECONNRESET) {
			return nil, "reset"
		}
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, greeting(conn)
}

// wantAgain calls several times more from the same port, and wants the application.
func wantAgain(t *testing.T, when string) {
	t.Helper()
	for i := range 5 {
		conn, who := greetingFrom(t)
		if who != "app" {
			t.Errorf("%s, call %d: %q answers, want the application", when, i, who)
		}
		if conn != nil {
			resetConnection(conn)
		}
	}
}

// keepTracking has somebody else's rules keep conntrack at work, until the test ends.
func keepTracking(t *testing.T) {
	t.Helper()
	other, err := netfilter.Open("nft", netfilter.Config{ID: "other", Mark: Mark})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	rule := netfilter.Redirect{Direction: netfilter.Incoming, Port: appPort + 2, Listener: appPort + 3, Holder: "you"}
	if err := other.Attach(rule); err != nil {
		t.Fatal(err)
	}
}

// TestCallerOfEndedRedirect has a caller reach the application who calls from a port that conntrack
// knows of a redirect which has ended in whatever way: the kernel leads such a caller to the
// redirect's listener.
func TestCallerOfEndedRedirect(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	other := m.visit(t, wire.Hello{Holder: "other@here"})
	if err := other.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort + 1}, nil); err != nil {
		t.Fatal(err)
	}

	for name, end := range map[string]func(*visitor){
		"killed":   func(v *visitor) { _ = v.Close() },
		"detached": func(v *visitor) { _ = v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			v := m.visit(t, wire.Hello{Holder: "me@here"})
			v.attach(t)
			conn, who := greetingFrom(t)
			if who != "lap" {
				t.Fatalf("%q answers, want the laptop", who)
			}

			end(v)
			_ = v.Close()
			eventually(t, "the rule to go", func() bool { return !v.armed(t) })
			if got := greeting(conn); got != "reset" {
				t.Errorf("the connection ended with %q, want a reset", got)
			}
			wantAgain(t, name)
		})
	}
}

// TestCallerOfRedirectBeforeLast does the same once the last redirect has ended too, while another
// manager's rules are at work.
func TestCallerOfRedirectBeforeLast(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	keepTracking(t)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	conn, who := greetingFrom(t)
	if who != "lap" {
		t.Fatalf("%q answers, want the laptop", who)
	}

	_ = v.Close()
	if got := greeting(conn); got != "reset" {
		t.Errorf("the connection ended with %q, want a reset", got)
	}
	rules := m.server.ruleSet
	eventually(t, "the rules to go", func() bool {
		rules.mu.Lock()
		defer rules.mu.Unlock()
		return rules.backend == nil && len(rules.retired) == 0
	})
	wantAgain(t, "after the manager's last redirect")
}

// TestQueuedReachApplication sends to the application what waits for a place when the redirect ends.
func TestQueuedReachApplication(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for name, end := range map[string]func(*visitor) error{
		"detached": func(v *visitor) error { return v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil) },
		"killed":   func(v *visitor) error { return v.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			v := startManagerWith(t, func(c *Config) { c.AwayPatience, c.PlacePatience = never, never }).visit(t, wire.Hello{Holder: "me@here"})
			v.attach(t)
			const many = 30
			pool := v.manager.server.pool
			taken := dialMany(t, many)
			eventually(t, "the connections", func() bool { return pool.count() == many })
			pool.setLimit(many)
			queued := dialMany(t, 1)
			eventually(t, "the rule to go", func() bool { return !v.armed(t) })

			if err := end(v); err != nil {
				t.Fatal(err)
			}
			if got := greetMany(queued); got["app"] != len(queued) {
				t.Errorf("of %d connections in the queue: %v, want all with the application", len(queued), got)
			}
			_ = greetMany(taken)
		})
	}
}

// TestManyRetired keeps no more listeners than it may.
func TestManyRetired(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	for id := range uint32(maxRetired + 5) {
		if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: id, Port: appPort}, nil); err != nil {
			t.Fatal(err)
		}
		if err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: id}, nil); err != nil {
			t.Fatal(err)
		}
	}

	rules := m.server.ruleSet
	eventually(t, "the older ones to be closed", func() bool {
		rules.mu.Lock()
		defer rules.mu.Unlock()
		return len(rules.retired) == maxRetired && len(rules.ports) == maxRetired
	})
	wantGreeting(t, "app", "after the last")
}

// TestCallerOfKilledManager has a caller reach the application whom conntrack would lead to the
// listener of a manager that was killed, once another manager redirects.
func TestCallerOfKilledManager(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	keepTracking(t)
	killed, err := netfilter.Open("nft", netfilter.Config{ID: "killed", Mark: Mark})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	rule := netfilter.Redirect{Direction: netfilter.Incoming, Port: appPort, Listener: port, Holder: "killed"}
	if err := killed.Attach(rule); err != nil {
		t.Fatal(err)
	}

	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Write([]byte("old"))
			resetConnection(conn)
		}
	}()
	if conn, who := greetingFrom(t); who != "old" && who != "reset" {
		t.Errorf("%q answers, want the manager that is killed", who)
	} else if conn != nil {
		_ = conn.Close()
	}
	<-greeted
	_, _ = listener.Close(), killed.Close()

	if _, who := greetingFrom(t); who != "refused" {
		t.Errorf("%q answers, want that conntrack leads nowhere", who)
	}
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort + 1}, nil); err != nil {
		t.Fatal(err)
	}
	wantAgain(t, "with another manager")
}
