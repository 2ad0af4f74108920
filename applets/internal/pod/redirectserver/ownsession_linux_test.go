package redirectserver

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
)

// ask asks for a redirect of appPort.
func (v *visitor) ask(t *testing.T, again bool) error {
	t.Helper()
	return v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort, Again: again}, nil)
}

// wantOwn wants that a request was refused since another session of the user's lives.
func wantOwn(t *testing.T, err error, holder string) {
	t.Helper()
	var refused *mux.RemoteError
	want := "port 8080 is already redirected by another session of yours (" + holder + ", for "
	if !errors.As(err, &refused) || refused.Code != wire.CodeOwn || !strings.HasPrefix(refused.Message, want) || refused.Hint == "" {
		t.Errorf("attach = %#v, want %q", err, want)
	}
}

// wantTakenOver wants that the laptop is told, once, that its redirect is gone, and gets it back by
// no return.
func (v *visitor) wantTakenOver(t *testing.T, s *redirectSession, by *visitor) {
	t.Helper()
	told := v.awaitTrouble(t)
	if want := "another session of yours (" + by.holder + ") has taken it over"; told.ID != 1 || told.Code != wire.CodeOwn || told.Message != want {
		t.Errorf("told %+v, want %q", told, want)
	}
	v.goAway(t)
	v.comeBack(t, s)
	v.wantArmed(t, false, "after another return")
	by.wantArmed(t, true, "after another return")
	v.wantNoTrouble(t)
}

// TestOwnSessionAway takes a port over from a laptop that is away, at once: before the port is the
// application's again, and after.
func TestOwnSessionAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for name, patience := range map[string]time.Duration{"just now": never, "for long": soon} {
		t.Run(name, func(t *testing.T) {
			m := startManager(t, patience)
			v := m.visit(t, wire.Hello{Holder: "old@here"})
			v.attach(t)
			kept := startEcho(t, 8<<20)
			s := v.goAway(t)
			if patience == soon {
				v.wantOverdue(t, s)
			}

			other := m.visit(t, wire.Hello{Holder: "new@here", Run: "new"})
			wantOwn(t, other.ask(t, true), "old@here") // it could be the other way round
			if err := other.ask(t, false); err != nil {
				t.Fatal(err)
			}
			wantGreeting(t, "lap", "taken over")
			v.comeBack(t, s)
			v.wantTakenOver(t, s, other)
			kept.wantExact(t)
		})
	}
}

// TestOwnSessionAwayWithCallers sends those to the application who wait for a laptop from which the
// port is taken over, however long its session goes on.
func TestOwnSessionAwayWithCallers(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "old@here", OnDisconnect: wire.OnDisconnectHold, GraceSeconds: 3600})
	v.attachProbes(t, nil, healthz)
	kept := startEcho(t, 8<<20)
	s := v.goAway(t)
	silent, waiting := dialApp(t), dialApp(t)
	if _, err := io.WriteString(waiting, "POST / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the callers", func() bool { return m.server.pool.count() == 3 })

	other := m.visit(t, wire.Hello{Holder: "new@here"})
	if err := other.ask(t, false); err != nil {
		t.Fatal(err)
	}
	for what, conn := range map[string]net.Conn{"that is silent": silent, "that waits": waiting} {
		if got := greeting(conn); got != "app" {
			t.Errorf("a caller %s: %q answers, want the application", what, got)
		}
	}
	v.comeBack(t, s)
	kept.wantExact(t)
}

// TestOwnSessionHangs takes a port over from a laptop that has a connection and says nothing, as
// one does that was stopped.
func TestOwnSessionHangs(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "old@here", Run: "old"})
	v.attach(t)
	kept := startEcho(t, 8<<20)
	conn := v.road.conn()
	conn.loseReads.Store(true)
	conn.loseWrites.Store(true)

	other := m.visit(t, wire.Hello{Holder: "new@here", Run: "new"})
	if err := other.ask(t, false); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, "lap", "taken over")

	s := v.goAway(t)
	v.comeBack(t, s)
	v.wantTakenOver(t, s, other)
	kept.wantExact(t)
}

// TestOwnSessionLives leaves a port to a laptop that is there, also if it is busy.
func TestOwnSessionLives(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "old@here"})
	v.attach(t)
	kept := startEcho(t, 64<<20)

	other := m.visit(t, wire.Hello{Holder: "new@here"})
	for _, again := range []bool{false, true} {
		wantOwn(t, other.ask(t, again), "old@here")
	}
	v.wantArmed(t, true, "refused")
	kept.wantExact(t)
	v.wantNoTrouble(t)

	if err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := other.ask(t, false); err != nil {
		t.Errorf("attach of a port that is free again: %v", err)
	}
}

// TestOwnSessionsRefuse takes nothing from a laptop that is away for a redirect that needs what another
// one has, too, which lives.
func TestOwnSessionsRefuse(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	request := func(port uint16, also ...netip.AddrPort) wire.Attach {
		return wire.Attach{ID: 1, Outgoing: true, Host: podIPv4, Port: port, Also: also}
	}
	away, lives := m.visit(t, wire.Hello{Holder: "away@here"}), m.visit(t, wire.Hello{Holder: "lives@here"})
	for v, port := range map[*visitor]uint16{away: 5001, lives: 5002} {
		if err := v.Call(t.Context(), wire.RequestAttach, request(port), nil); err != nil {
			t.Fatal(err)
		}
	}
	away.goAway(t)

	other := m.visit(t, wire.Hello{Holder: "new@here"})
	for range 10 { // the sessions are looked at in any order
		err := other.Call(t.Context(), wire.RequestAttach, request(5001, netip.MustParseAddrPort(podIPv4+":5002")), nil)
		var refused *mux.RemoteError
		if !errors.As(err, &refused) || refused.Code != wire.CodeOwn {
			t.Fatalf("attach = %v, want that one of them lives", err)
		}
	}
	away.wantArmed(t, true, "of a refused take-over")
}

// TestOwnSessionOfSameRun lets a run of kdiag that has opened another session have what its last one
// had, without a word.
func TestOwnSessionOfSameRun(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "old@here", Run: "one"})
	v.attach(t)
	other := m.visit(t, wire.Hello{Holder: "new@here", Run: "one"})
	if err := other.ask(t, true); err != nil {
		t.Fatal(err)
	}
	other.wantArmed(t, true, "in its next session")
	v.wantNoTrouble(t)
}
