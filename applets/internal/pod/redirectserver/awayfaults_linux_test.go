package redirectserver

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
)

// A controlFault says when the connection is cut, beside a control message.
type controlFault struct {
	name string
	// begin starts the request and returns once the moment has come.
	begin func(t *testing.T, f *faultRun)
}

// faultRun is one request with one fault.
type faultRun struct {
	*visitor
	session *redirectSession
	ask     func() error
	// working is closed when the manager is at the request, and goes on when release is.
	working, release chan struct{}
	// answers says that the manager can answer without the laptop, once it is at the request.
	answers bool
	// isDone reports whether the manager has done what the request wants.
	isDone func() bool
	result chan error
	long   bool // until the patience is over
}

func (f *faultRun) start() { go func() { f.result <- f.ask() }() }

// controlFaults lists the moments at which the connection is cut.
var controlFaults = []controlFault{
	{"before it is sent", func(t *testing.T, f *faultRun) {
		close(f.release)
		f.goAway(t)
		f.start()
	}},
	{"after it is sent", func(t *testing.T, f *faultRun) {
		close(f.release)
		conn := f.road.conn()
		conn.loseWrites.Store(true)
		f.start()
		eventually(t, "the request to be sent", func() bool { return conn.lost.Load() > 0 })
		f.goAway(t)
	}},
	{"before the answer", func(t *testing.T, f *faultRun) {
		f.start()
		<-f.working
		f.goAway(t)
		if f.long {
			f.wantOverdue(t, f.session)
		}
		close(f.release)
	}},
	{"after the answer is sent", func(t *testing.T, f *faultRun) {
		close(f.release)
		conn := f.road.conn()
		conn.loseReads.Store(true)
		f.start()
		eventually(t, "the request to be done", f.isDone)
		eventually(t, "the answer to be sent", func() bool { return !f.answers || conn.lost.Load() > 0 })
		f.goAway(t)
	}},
	{"after the answer", func(t *testing.T, f *faultRun) {
		close(f.release)
		f.start()
		eventually(t, "the request to be done", f.isDone)
		if f.answers {
			f.result <- <-f.result
		}
		f.goAway(t)
	}},
}

// controlRequests says how each request begins, is done, and what the kernel has then.
var controlRequests = map[string]struct {
	prepare func(t *testing.T, f *faultRun)
	finish  func(t *testing.T, f *faultRun)
	armed   bool
}{
	"attach": {
		prepare: func(t *testing.T, f *faultRun) {
			f.ask = func() error {
				return f.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort}, nil)
			}
			f.isDone = func() bool { f.session.mu.Lock(); defer f.session.mu.Unlock(); return f.session.redirects[1] != nil }
			f.openBackend(t)
			f.hookBackend()
		},
		armed: true,
	},
	"detach": {
		prepare: func(t *testing.T, f *faultRun) {
			f.attach(t)
			f.ask = func() error { return f.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil) }
			f.isDone = func() bool { return f.isDetached() && !f.armed(t) }
			f.hookBackend()
		},
	},
	"bye": {
		prepare: func(t *testing.T, f *faultRun) {
			f.attach(t)
			kept := dialApp(t)
			if got := greeting(kept); got != "lap" {
				t.Fatalf("greeting = %q", got)
			}
			if err := f.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil); err != nil {
				t.Fatal(err)
			}
			f.ask = func() error { return f.Call(t.Context(), wire.RequestBye, nil, nil) }
			f.isDone = func() bool { return true }
			close(f.working) // it waits for the connection
			f.answers = false
			t.Cleanup(func() { _ = kept.Close() })
		},
		finish: func(_ *testing.T, f *faultRun) { f.closeConns() },
	},
}

// closeConns ends the callers' connections.
func (f *faultRun) closeConns() {
	f.session.mu.Lock()
	defer f.session.mu.Unlock()
	for _, r := range f.session.redirects {
		r.mu.Lock()
		for conn := range r.conns {
			conn.Reset()
		}
		r.mu.Unlock()
	}
}

func (f *faultRun) isDetached() bool {
	f.session.mu.Lock()
	r := f.session.redirects[1]
	f.session.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.detached
}

// openBackend opens the back end, for a hook to be set.
func (f *faultRun) openBackend(t *testing.T) {
	t.Helper()
	if err := f.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 99, Port: 9999}, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 99}, nil); err != nil {
		t.Fatal(err)
	}
}

// hookBackend stops the next change of rules until release is closed.
func (f *faultRun) hookBackend() {
	backend := f.manager.backend.Load()
	stop := func() {
		backend.onChange.Store(nil)
		close(f.working)
		<-f.release
	}
	backend.onChange.Store(&stop)
}

// TestCutAtEveryPhase cuts the connection around each control message. The request completes after
// the return, once, and the kernel has what it asks for.
func TestCutAtEveryPhase(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for name, request := range controlRequests {
		for _, fault := range controlFaults {
			for _, long := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/long %t", name, fault.name, long), func(t *testing.T) {
					patience := never
					if long {
						patience = soon
					}
					f := newFaultRun(t, patience)
					f.long = long
					request.prepare(t, f)
					fault.begin(t, f)
					if long {
						eventually(t, "the rules to go", func() bool { return !f.armed(t) })
					}
					f.comeBack(t, f.session)
					if request.finish != nil {
						request.finish(t, f)
					}

					if err := <-f.result; err != nil {
						t.Errorf("the request after the return = %v", err)
					}
					f.wantSettled(t, request.armed)
				})
			}
		}
	}
}

func newFaultRun(t *testing.T, patience time.Duration) *faultRun {
	t.Helper()
	v := startManager(t, patience).visit(t, wire.Hello{Holder: "me@here"})
	return &faultRun{
		visitor: v, session: v.served(t), answers: true,
		working: make(chan struct{}), release: make(chan struct{}), result: make(chan error, 1),
	}
}

// wantSettled wants the kernel to have the redirect or not, once nothing is done any more.
func (f *faultRun) wantSettled(t *testing.T, armed bool) {
	t.Helper()
	eventually(t, "the redirects to be settled", func() bool {
		f.session.mu.Lock()
		defer f.session.mu.Unlock()
		return !f.session.settling
	})
	f.wantArmed(t, armed, "after the return")
	wantGreeting(t, map[bool]string{true: "lap", false: "app"}[armed], "after the return")
	f.wantNoTrouble(t)

	// A second execution would have failed, and told so; this one does.
	err := f.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort}, nil)
	var refused *mux.RemoteError
	if !errors.As(err, &refused) || refused.Message != "redirect 1 already exists" {
		t.Errorf("the same attach again = %v", err)
	}
}

// TestCutWhileResuming cuts each connection that is to bring a session back, at every step of its
// handshake, on either side of the patience.
func TestCutWhileResuming(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, patience := range []time.Duration{never, soon} {
		t.Run(fmt.Sprint("patience ", patience), func(t *testing.T) {
			v := startManager(t, patience).visit(t, wire.Hello{Holder: "me@here"})
			v.attach(t)
			kept := startEcho(t, 16<<20)
			for _, at := range []string{"read", "write"} {
				for count := range 4 {
					s := v.goAway(t)
					if patience == soon {
						v.wantOverdue(t, s)
					}
					asked := make(chan error, 1) // so that there is something to send
					go func() { asked <- v.Call(t.Context(), wire.RequestListeners, nil, nil) }()
					failed := v.road.failed.Load()
					v.road.mu.Lock()
					v.road.dieAt = map[string]int{at: count + 1}
					v.road.mu.Unlock()
					v.road.unblock()
					eventually(t, fmt.Sprintf("the connection to die at %s %d", at, count+1), func() bool { return v.road.failed.Load() > failed })
					eventually(t, "the laptop to be back", func() bool {
						s.mu.Lock()
						defer s.mu.Unlock()
						return s.laptop.Connected() && !s.laptopIs.away && !s.settling
					})
					v.wantArmed(t, true, "back")
					if err := <-asked; err != nil {
						t.Errorf("cut at %s %d: a request = %v", at, count+1, err)
					}
				}
			}
			wantGreeting(t, "lap", "back")
			kept.wantExact(t)
			v.wantNoTrouble(t)
		})
	}
}

// TestDetachAndByeWhileAway has a user give up while the laptop is away: the port is the
// application's after the return, and the session over.
func TestDetachAndByeWhileAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, patience := range []time.Duration{never, soon} {
		t.Run(fmt.Sprint("patience ", patience), func(t *testing.T) {
			v := startManager(t, patience).visit(t, wire.Hello{Holder: "me@here"})
			v.attach(t)
			s := v.goAway(t)
			if patience == soon {
				v.wantOverdue(t, s)
			}
			ended := make(chan error, 1)
			go func() {
				err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, nil)
				ended <- errors.Join(err, v.Call(t.Context(), wire.RequestBye, nil, nil), v.Close())
			}()
			v.comeBack(t, s)
			if err := <-ended; err != nil {
				t.Errorf("detach and bye = %v", err)
			}
			eventually(t, "the manager to be idle", func() bool { return !v.manager.server.Busy() })
			v.wantArmed(t, false, "after bye")
		})
	}
}

// TestGraceOverWhileProving ends the session in the middle of a proof that gets no answer.
func TestGraceOverWhileProving(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here", GraceSeconds: 60})
	v.attach(t)
	s := v.stayAway(t)
	run(t, "nft", "table inet wall {\nchain input {\ntype filter hook input priority 0\nct status dnat drop\n}\n}")
	v.road.unblock()
	eventually(t, "the proof", func() bool { return v.armed(t) })
	s.laptop.KeepFor(1)
	v.road.block()
	eventually(t, "the manager to be idle", func() bool { return !v.manager.server.Busy() })
	v.wantArmed(t, false, "after the grace")
	v.road.unblock()
	<-v.Done()
}

// TestAwayWhileProving has the laptop go in the middle of a proof that gets no answer: once the
// patience is over, the port is the application's, and the proof tells nothing.
func TestAwayWhileProving(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	s := v.stayAway(t)
	run(t, "nft", "table inet wall {\nchain input {\ntype filter hook input priority 0\nct status dnat drop\n}\n}")
	v.road.unblock()
	eventually(t, "the proof", func() bool { return v.armed(t) })
	v.stayAway(t)
	v.wantArmed(t, false, "away again")

	run(t, "nft", "delete table inet wall")
	v.comeBack(t, s)
	v.wantArmed(t, true, "back")
	wantGreeting(t, "lap", "back")
	v.wantNoTrouble(t)
}

// TestAwaySessionMakesRoom lets a user in whose many laptops have crashed: the one that has been
// away longest gives up its place. Laptops that are there keep theirs.
func TestAwaySessionMakesRoom(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	var crashed []*visitor
	for i := range maxSessions {
		crashed = append(crashed, m.visit(t, wire.Hello{Holder: fmt.Sprintf("me@crashed%d", i)}))
	}
	crashed[0].attach(t)
	if _, err := m.tryVisit(t, wire.Hello{Holder: "me@late"}); err == nil {
		t.Error("a session beyond the limit was let in although every laptop is there")
	}

	var sessions []*redirectSession
	for _, v := range crashed {
		sessions = append(sessions, v.goAway(t))
	}
	m.visit(t, wire.Hello{Holder: "me@new"}).attachSoon(t)
	m.visit(t, wire.Hello{Holder: "me@newer"})
	for i, s := range sessions {
		if ended := s.laptop.Err() != nil; ended != (i < 2) {
			t.Errorf("session %d has ended: %t", i, ended)
		}
	}
	for _, v := range crashed {
		v.road.unblock()
	}
	<-crashed[0].Done()
	<-crashed[1].Done()
	if err := crashed[2].Call(t.Context(), wire.RequestListeners, nil, nil); err != nil {
		t.Errorf("the third laptop after its return: %v", err)
	}
}

// attachSoon redirects appPort once whoever has it has ended.
func (v *visitor) attachSoon(t *testing.T) {
	t.Helper()
	eventually(t, "the port", func() bool {
		return v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort}, nil) == nil
	})
	wantGreeting(t, "lap", "in place of an evicted session")
}

// TestManyConnectionsWhileAway lets no more wait than may be there at once. The application has the
// others.
func TestManyConnectionsWhileAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: wire.OnDisconnectHold})
	v.attach(t)
	const limit, callers = 1200, 1500
	v.manager.server.pool.setLimit(limit)
	s := v.goAway(t)

	conns := dialMany(t, callers)
	s.mu.Lock()
	r := s.redirects[1]
	s.mu.Unlock()
	eventually(t, "the port to be left to the application", r.isSuspended)

	v.comeBack(t, s)
	got := greetMany(conns)
	if got["lap"] < limit*3/4 || got["lap"] > limit || got["lap"]+got["app"] != callers {
		t.Errorf("of %d connections: %v, want up to %d served and the others with the application", callers, got, limit)
	}
}

// dialMany makes connections to the application's port.
func dialMany(t *testing.T, many int) (conns []net.Conn) {
	t.Helper()
	for range many {
		conn, err := net.Dial("tcp", podIPv4+appAddress)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return conns
}

// greetMany closes connections, and counts who has greeted them.
func greetMany(conns []net.Conn) map[string]int {
	got := map[string]int{}
	for _, conn := range conns {
		got[greeting(conn)]++
		_ = conn.Close()
	}
	return got
}

// TestManagerEndsWhileAway does not wait for a laptop that is away, whatever waits to be sent to it.
func TestManagerEndsWhileAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: wire.OnDisconnectHold})
	v.attach(t)
	stuck := startEcho(t, 1<<30)
	v.goAway(t)
	for range 1100 { // more than yamux opens unanswered
		_ = dialApp(t)
	}
	if err := v.manager.stop(); err != nil {
		t.Errorf("the manager: %v", err)
	}
	if err := <-stuck.done; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the transfer ended with %v, want a reset", err)
	}
}
