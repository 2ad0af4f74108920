package redirectserver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// never is a patience that no test sees the end of, and soon one whose end it can wait for.
const (
	never = time.Hour
	soon  = 50 * time.Millisecond
)

// An echo is a transfer that goes to the laptop and back.
type echo struct {
	conn net.Conn
	done chan error
}

// startEcho sends random bytes, which must come back.
func startEcho(t *testing.T, size int64) *echo {
	t.Helper()
	conn := dialApp(t)
	if got := greeting(conn); got != "lap" {
		t.Fatalf("greeting = %q, want the laptop's", got)
	}

	e := &echo{conn, make(chan error, 1)}
	sent := sha256.New()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), sent))
		if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
			err = tcp.CloseWrite()
		}
		wrote <- err
	}()
	go func() {
		got := sha256.New()
		n, err := io.Copy(got, struct{ io.Reader }{conn})
		err = errors.Join(<-wrote, err)
		if err == nil && (n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil))) {
			err = fmt.Errorf("%d bytes of %d came back, or others", n, size)
		}
		e.done <- err
	}()
	return e
}

// wantExact wants that all bytes came back.
func (e *echo) wantExact(t *testing.T) {
	t.Helper()
	if err := <-e.done; err != nil {
		t.Errorf("a connection that was there: %v", err)
	}
}

// TestAwayForABlink has new connections wait, whatever the policy.
func TestAwayForABlink(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, policy := range []string{"", wire.OnDisconnectApp, wire.OnDisconnectHold, wire.OnDisconnectReset} {
		t.Run("policy "+policy, func(t *testing.T) {
			v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy})
			v.attach(t)
			kept := startEcho(t, 32<<20)
			s := v.goAway(t)
			v.wantArmed(t, true, "while away")
			if !v.manager.server.Busy() {
				t.Error("the manager is not busy while the laptop is away")
			}

			waiting := dialApp(t)
			v.comeBack(t, s)
			if got := greeting(waiting); got != "lap" {
				t.Errorf("the connection that waited got %q", got)
			}
			v.wantArmed(t, true, "back")
			wantGreeting(t, "lap", "back")
			kept.wantExact(t)
			v.wantNoTrouble(t)
		})
	}
}

// TestAwayForLong sends new connections where the policy says, and takes them back at the return.
func TestAwayForLong(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for policy, want := range map[string]string{"": "app", wire.OnDisconnectApp: "app", wire.OnDisconnectReset: "reset"} {
		t.Run("policy "+policy, func(t *testing.T) {
			v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy})
			v.attach(t)
			kept := startEcho(t, 32<<20)
			for range 3 {
				s := v.stayAway(t)
				v.wantArmed(t, want == "reset", "away for long")
				wantGreeting(t, want, "away for long")
				v.comeBack(t, s)
				v.wantArmed(t, true, "back")
				wantGreeting(t, "lap", "back")
			}
			kept.wantExact(t)
			v.wantNoTrouble(t)
		})
	}
}

// TestAwayForLongHeld has new connections wait for as long as it takes.
func TestAwayForLongHeld(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, 1).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: wire.OnDisconnectHold})
	v.attach(t)
	kept := startEcho(t, 32<<20)
	s := v.goAway(t)
	if s.laptopIs.timer != nil {
		t.Error("there is an end to the patience")
	}

	waiting := dialApp(t)
	v.wantArmed(t, true, "away for long")
	v.comeBack(t, s)
	if got := greeting(waiting); got != "lap" {
		t.Errorf("the connection that waited got %q", got)
	}
	kept.wantExact(t)
}

// TestGraceOver gives the port back, and resets what is there, waiting connections too.
func TestGraceOver(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, policy := range []string{wire.OnDisconnectApp, wire.OnDisconnectHold, wire.OnDisconnectReset} {
		t.Run(policy, func(t *testing.T) {
			v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy, GraceSeconds: 0.5})
			v.attach(t)
			kept := dialApp(t)
			if got := greeting(kept); got != "lap" {
				t.Fatalf("greeting = %q", got)
			}

			s := v.goAway(t)
			waiting := dialApp(t)
			<-s.laptop.Done()
			if got := greeting(kept); got != "reset" {
				t.Errorf("the connection that was there got %q, want a reset", got)
			}
			if got := greeting(waiting); got != "app" {
				t.Errorf("the connection that waited got %q, want the application", got)
			}
			_ = waiting.Close()
			eventually(t, "the manager to be idle", func() bool { return !v.manager.server.Busy() })
			v.wantArmed(t, false, "after the grace")
			wantGreeting(t, "app", "after the grace")

			v.road.unblock()
			<-v.Done()
		})
	}
}

// TestNoGraceBeforeHello ends a session at once whose laptop has said nothing.
func TestNoGraceBeforeHello(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v, err := m.tryVisit(t, wire.Hello{Holder: "me@here", GraceSeconds: -1})
	if err == nil || !strings.Contains(err.Error(), "must not be negative") {
		t.Fatalf("hello = %v", err)
	}
	eventually(t, "the session", m.server.Busy)
	v.road.block()
	eventually(t, "the session's end", func() bool { return !m.server.Busy() })
}

// TestPortHeldAtReturn tells who has the port by now, leaves it to them, and tries again at the next
// return.
func TestPortHeldAtReturn(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, soon)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	kept := startEcho(t, 8<<20)
	s := v.stayAway(t)
	other, err := netfilter.Open("nft", netfilter.Config{ID: "other", Mark: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	held := netfilter.Redirect{Direction: netfilter.Incoming, Port: appPort, Listener: 1, Holder: "you@there"}
	if err := other.Attach(held); err != nil {
		t.Fatal(err)
	}

	v.comeBack(t, s)
	told := v.awaitTrouble(t)
	if want := "port 8080 is already redirected by you@there"; told.ID != 1 || told.Message != want || told.Hint == "" {
		t.Errorf("told %+v, want %q and a hint", told, want)
	}
	v.wantArmed(t, false, "held")
	kept.wantExact(t)

	if err := other.Detach(held); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, "app", "until the next return")
	v.goAway(t)
	v.comeBack(t, s)
	v.wantArmed(t, true, "the next return")
	wantGreeting(t, "lap", "the next return")
	v.wantNoTrouble(t)
}

// TestProofFailsAtReturn tells of a redirect that works no more, and leaves nothing of it in the
// kernel until it works again.
func TestProofFailsAtReturn(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for name, patience := range map[string]time.Duration{"blink": never, "long": soon} {
		t.Run(name, func(t *testing.T) {
			v := startManager(t, patience).visit(t, wire.Hello{Holder: "me@here"})
			v.attach(t)
			s := v.goAway(t)
			if patience == soon {
				v.wantOverdue(t, s)
			}
			run(t, "nft", "table inet stranger {\nchain output {\ntype nat hook output priority -150\ntcp dport 8080 redirect to :8080\n}\n}")
			v.comeBack(t, s)
			told := v.awaitTrouble(t)
			if !strings.Contains(told.Message, "did not arrive at kdiag") || !strings.Contains(told.Hint, "decide about these connections first") {
				t.Errorf("told %+v", told)
			}
			v.wantArmed(t, false, "it does not work")

			run(t, "nft", "delete table inet stranger")
			v.goAway(t)
			v.comeBack(t, s)
			v.wantArmed(t, true, "it works again")
			wantGreeting(t, "lap", "it works again")
			v.wantNoTrouble(t)
		})
	}
}

// TestAwayAgainAndAgain has the laptop go and come while the patience ends.
func TestAwayAgainAndAgain(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, policy := range []string{wire.OnDisconnectApp, wire.OnDisconnectReset} {
		t.Run(policy, func(t *testing.T) {
			v := startManager(t, 3*time.Millisecond).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy})
			v.attach(t)
			kept := startEcho(t, 16<<20)
			dice := rand.New(rand.NewPCG(1, 2))
			for range 40 {
				v.road.block()
				time.Sleep(time.Duration(dice.IntN(6)) * time.Millisecond) // a random moment
				v.road.unblock()
				time.Sleep(time.Duration(dice.IntN(6)) * time.Millisecond)
			}

			s := v.served(t)
			eventually(t, "the last return", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return s.laptop.Connected() && !s.laptopIs.away && !s.settling
			})
			v.wantArmed(t, true, "at last")
			wantGreeting(t, "lap", "at last")
			kept.wantExact(t)
			v.wantNoTrouble(t)
			_ = v.Close()
			eventually(t, "the manager to be idle", func() bool { return !v.manager.server.Busy() })
			v.wantArmed(t, false, "after the end")
			t.Logf("%d returns", s.countReturns())
		})
	}
}
