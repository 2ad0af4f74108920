package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// path is the way from the laptop to the pod, which can be cut.
type path struct {
	pod *podSide

	mu    sync.Mutex
	fails error // why nothing gets through
	near  *stoppable
	hash  string // of the last session's manager
}

// stoppable is a connection on which nothing moves once it is stopped.
type stoppable struct {
	net.Conn
	once            sync.Once
	stopped, closed chan struct{}
}

func newStoppable(conn net.Conn) *stoppable {
	return &stoppable{Conn: conn, stopped: make(chan struct{}), closed: make(chan struct{})}
}

func (s *stoppable) wait() {
	select {
	case <-s.stopped:
		<-s.closed
	default:
	}
}

func (s *stoppable) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.wait()
	return n, err
}

func (s *stoppable) Write(p []byte) (int, error) {
	s.wait()
	return s.Conn.Write(p)
}

func (s *stoppable) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// lossyConn ends as a port-forward does whose connection to the API server is lost.
type lossyConn struct{ net.Conn }

func (c lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		err = &kube.Error{Doing: "forward to port 1 of pod default/web", Err: kube.ErrConnectionLost}
	}
	return n, err
}

// dial makes a connection to the manager that runs now.
func (p *path) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	fails := p.fails
	p.mu.Unlock()
	if fails != nil {
		return nil, fails
	}

	near, far := net.Pipe()
	p.pod.mu.Lock()
	listener := p.pod.listener
	p.pod.mu.Unlock()
	select {
	case listener.conns <- far:
	case <-listener.closed:
		return nil, errors.New("the manager is gone")
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.near = newStoppable(lossyConn{near})
	return p.near, nil
}

// fail cuts the connection, and lets none through for a reason, until it is nil.
func (p *path) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = err
	if err != nil {
		_ = p.near.Close()
	}
}

func (p *path) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.near.Close()
}

// redial is dial, but the manager must be the last session's.
func (p *path) redial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	hasEnded := p.fails == nil && p.hash != p.pod.keyHash()
	p.mu.Unlock()
	if hasEnded {
		return nil, fmt.Errorf("%w: the container has ended", mux.ErrGivenUp)
	}
	return p.dial(ctx)
}

// reopen opens a session with the manager that runs now.
func (p *path) reopen(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}

	hash := p.pod.keyHash()
	p.mu.Lock()
	p.hash = hash
	p.mu.Unlock()
	return mux.Client(ctx, conn, p.pod.user, hash, o)
}

// startReconnecting starts a client with one redirect, of port 8080 to an echo, and one connection.
func startReconnecting(t *testing.T, c Config) (*running, *path, net.Conn) {
	t.Helper()
	pod := startPodSide(t)
	p := &path{pod: pod}
	if c.Redial == nil {
		c.Redial = p.redial
	}
	if c.Reopen == nil {
		c.Reopen = p.reopen
	}
	if c.Grace == 0 {
		c.Grace = time.Minute
	}
	c.Redirects = []Spec{{Port: 8080, Local: startEcho(t)}}
	r := startOn(t, p, c)
	t.Cleanup(func() { r.cancel(); p.cut(); <-r.ended })

	next[RedirectStarted](t, r.events)
	conn := pod.call(t, 8080)
	next[Connection](t, r.events)
	echo(t, conn, "before")
	return r, p, conn
}

func startOn(t *testing.T, p *path, c Config) *running {
	t.Helper()
	c.Version, c.Holder, c.Backend, c.Timeout = "v1", "me@here", "auto", time.Minute
	r := &running{events: newEvents(), done: make(chan error, 1), ended: make(chan struct{})}
	r.client = New(c, r.events)
	session, err := p.reopen(t.Context(), r.client.SessionOptions())
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() {
		defer close(r.ended)
		r.done <- r.client.Run(ctx, webPod, session, func() {})
	}()
	return r
}

// TestConnectionWaitsForCut keeps an open connection while the one below it is cut.
func TestConnectionWaitsForCut(t *testing.T) {
	r, p, conn := startReconnecting(t, Config{})
	for range 3 {
		p.cut()
		lost := next[Disconnected](t, r.events)
		if lost.Pod != webPod || lost.Grace != time.Minute || lost.Err.Error() != "the connection to the API server was lost" {
			t.Errorf("event %+v, want why, and a minute", lost)
		}
		if back := next[Reconnected](t, r.events); back.Pod != webPod || back.Kept != 1 || back.Cut != 0 || back.Renewed || back.After <= 0 {
			t.Errorf("event %+v, want one connection kept", back)
		}
		echo(t, conn, "after")
	}
}

// TestSilentConnection replaces a connection on which nothing moves any more.
func TestSilentConnection(t *testing.T) {
	r, p, conn := startReconnecting(t, Config{})
	p.mu.Lock()
	close(p.near.stopped)
	p.mu.Unlock()

	if lost := next[Disconnected](t, r.events); lost.Err.Error() != "nothing came from the pod for 10s" {
		t.Errorf("lost because %v, want that nothing came", lost.Err)
	}
	if back := next[Reconnected](t, r.events); back.After < 9*time.Second || back.Kept != 1 {
		t.Errorf("event %+v, want the time since the last byte", back)
	}
	echo(t, conn, "after")
}

// TestManagerReplaced makes the redirect again where the session is lost, and counts what that cost.
func TestManagerReplaced(t *testing.T) {
	r, p, conn := startReconnecting(t, Config{})
	p.fail(errors.New("no way"))
	next[Disconnected](t, r.events)
	p.pod.stopManager(t)
	p.pod.startManager(t)
	p.fail(nil)

	verifyRenewed(t, r, p, conn)
}

// TestGraceOver makes the redirect again where the manager has given the session up meanwhile.
func TestGraceOver(t *testing.T) {
	r, p, conn := startReconnecting(t, Config{Grace: time.Millisecond})
	p.fail(errors.New("no way"))
	next[Disconnected](t, r.events)
	p.pod.waitUntilFree(t, 8080)
	p.fail(nil)

	verifyRenewed(t, r, p, conn)
}

// verifyRenewed wants the redirect to be made again, after the one connection was reset.
func verifyRenewed(t *testing.T, r *running, p *path, conn net.Conn) {
	t.Helper()
	verifyReset(t, conn)
	var closed, started int
	var back *Reconnected
	for closed+started < 2 || back == nil {
		switch e := (<-r.events).(type) {
		case ConnectionClosed:
			closed++
			if e.Err == nil {
				t.Error("the connection ended well, want a reset")
			}
		case RedirectStarted:
			started++
		case Reconnected:
			back = &e
		default:
			t.Fatalf("event %T %+v", e, e)
		}
	}
	if closed != 1 || started != 1 || back.Kept != 0 || back.Cut != 1 || !back.Renewed {
		t.Errorf("%d closed, %d redirects, %+v, want one of each, and one connection cut", closed, started, back)
	}

	conn = p.pod.call(t, 8080)
	next[Connection](t, r.events)
	echo(t, conn, "again")
	if c := r.client.Counters(); c.Total != 2 || c.Open != 1 {
		t.Errorf("counters %+v, want two connections, one of them open", c)
	}
	r.cancel()
	_ = conn.Close()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	p.pod.waitUntilFree(t, 8080)
}

func verifyReset(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the caller reads %v, want a reset", err)
	}
}

// TestPodGone ends with one clear error.
func TestPodGone(t *testing.T) {
	gone := fmt.Errorf("%w: the pod was deleted", mux.ErrGivenUp)
	r, p, _ := startReconnecting(t, Config{})
	p.fail(gone)

	next[Disconnected](t, r.events)
	for {
		if _, ok := (<-r.events).(SessionLost); ok {
			break
		}
	}
	err := <-r.done
	if want := "the session with pod default/web ended: "; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "the pod was deleted") {
		t.Errorf("Run = %v, want %q and why", err, want)
	}
}

// TestPortTakenMeanwhile tells who has taken the port, once, and takes it back when it is free.
func TestPortTakenMeanwhile(t *testing.T) {
	r, p, _ := startReconnecting(t, Config{Grace: time.Millisecond})
	p.pod.mu.Lock()
	p.pod.refuse[8080] = true
	p.pod.mu.Unlock()
	p.fail(errors.New("no way"))
	p.pod.waitUntilFree(t, 8080)
	p.fail(nil)

	next[Disconnected](t, r.events)
	problem := awaitEvent[Problem](t, r.events)
	if !strings.Contains(problem.Err.Error(), "redirect 8080 in pod default/web") || !strings.Contains(problem.Err.Error(), "you@there") {
		t.Errorf("problem %v, want who holds the port", problem.Err)
	}

	p.pod.mu.Lock()
	p.pod.refuse[8080] = false
	p.pod.mu.Unlock()
	next[RedirectStarted](t, r.events)
	echo(t, p.pod.call(t, 8080), "again")
}

// awaitEvent waits for an event of a kind, and passes over others.
func awaitEvent[T any](t *testing.T, e events) T {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case event := <-e:
			if got, ok := event.(T); ok {
				return got
			}
		case <-limit:
			t.Fatalf("no %T came", *new(T))
		}
	}
}

// TestTroubleIsTold reports what the manager says of a redirect.
func TestTroubleIsTold(t *testing.T) {
	c, e := newServing(t, "local:1", 4)
	c.handleEvent(wire.EventTroubled, []byte(`{"id":1,"message":"someone else's rule","hint":"ask them"}`))
	problem := next[Problem](t, e)
	if want := "redirect 80 in pod /: someone else's rule"; problem.Err.Error() != want || strings.Join(applets.Hints(problem.Err), "") != "ask them" {
		t.Errorf("problem %v, hints %q, want %q and its hint", problem.Err, applets.Hints(problem.Err), want)
	}

	c.handleEvent(wire.EventTroubled, []byte(`{"id":99,"message":"x"}`))
	c.handleEvent(wire.EventTroubled, []byte(`{`))
	if len(e) != 0 {
		t.Errorf("event %+v, want none of a redirect that is unknown", <-e)
	}
}

// TestInterruptWhileAway ends at once, whatever it is about to do.
func TestInterruptWhileAway(t *testing.T) {
	hang := func(reached chan<- struct{}, ctx context.Context) error {
		once(reached)
		<-ctx.Done()
		return ctx.Err()
	}
	refuse := func(reached chan<- struct{}, _ context.Context) error {
		once(reached)
		return errors.New("no route to host")
	}

	for _, c := range []struct {
		name           string
		redial, reopen func(reached chan<- struct{}, ctx context.Context) error
		untold         bool // the redirect is in force still
	}{
		{"while it dials", hang, nil, true},
		{"between two dials", refuse, nil, true},
		{"while it opens a session", nil, hang, false},
		{"between two sessions", nil, refuse, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached := make(chan struct{}, 1)
			config := Config{OnDisconnect: wire.OnDisconnectHold}
			config.Redial = func(ctx context.Context) (net.Conn, error) {
				if c.redial == nil {
					return nil, fmt.Errorf("%w: it has ended", mux.ErrGivenUp)
				}
				return nil, c.redial(reached, ctx)
			}
			config.Reopen = func(ctx context.Context, _ mux.SessionOptions) (*mux.Session, error) {
				return nil, c.reopen(reached, ctx)
			}

			r, p, _ := startReconnecting(t, config)
			p.cut()
			<-reached
			r.verifyInterrupt(t)

			told := awaitProblemOrSummary(t, r.events)
			if told != c.untold {
				t.Errorf("told that the pod cannot be told: %t, want %t", told, c.untold)
			}
		})
	}
}

// once notes that something was reached.
func once(reached chan<- struct{}) {
	select {
	case reached <- struct{}{}:
	default:
	}
}

// verifyInterrupt interrupts the client, and wants it to end well and soon.
func (r *running) verifyInterrupt(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	case <-time.After(detachTimeout - time.Second):
		t.Error("it does not end")
	}
}

// awaitProblemOrSummary reports whether a problem came before the summary.
func awaitProblemOrSummary(t *testing.T, e events) (problem bool) {
	t.Helper()
	for event := range e {
		switch got := event.(type) {
		case Problem:
			problem = true
			if want := "pod default/web cannot be told: new connections wait there for up to 1m more, and then reach the application again"; got.Err.Error() != want {
				t.Errorf("problem %q, want %q", got.Err, want)
			}
		case Summary:
			return problem
		}
	}
	return problem
}

// TestInterruptWhileArming ends while the manager makes the redirect again.
func TestInterruptWhileArming(t *testing.T) {
	r, p, _ := startReconnecting(t, Config{Grace: time.Millisecond})
	p.fail(errors.New("no way"))
	p.pod.waitUntilFree(t, 8080)

	reached, release := make(chan struct{}, 1), make(chan struct{})
	p.pod.mu.Lock()
	p.pod.attaching = func() { once(reached); <-release }
	p.pod.mu.Unlock()
	p.fail(nil)
	<-reached
	r.verifyInterrupt(t)
	close(release)
	p.pod.waitUntilFree(t, 8080)
}

// TestLossWhileGivingBack does not wait for a manager that cannot be told.
func TestLossWhileGivingBack(t *testing.T) {
	refused := errors.New("no route to host")
	r, p, _ := startReconnecting(t, Config{Drain: time.Minute})
	r.cancel()
	next[DrainStarted](t, r.events)
	p.fail(refused)
	p.fail(nil)
	next[Disconnected](t, r.events)
	next[Reconnected](t, r.events)
}

// TestCauseIsOneClause has no cause say "EOF", or fill more than a line.
func TestCauseIsOneClause(t *testing.T) {
	forward := func(err error) error {
		return fmt.Errorf("connection lost: read: %w", &kube.Error{Doing: "forward to port 1 of pod a/b", Err: err})
	}
	for _, c := range []struct {
		err           error
		loss, failure string
	}{
		{forward(kube.ErrConnectionLost), "the connection to the API server was lost", "the connection to the API server was lost"},
		{fmt.Errorf("connection lost: %w", &mux.SilentError{For: 10 * time.Second}), "nothing came from the pod for 10s", ""},
		{forward(errors.New("exit status 1:\n no more")), "the port-forward ended: exit status 1: no more", "exit status 1: no more"},
		{forward(errors.New(`error forwarding port 36297 to pod 5bd8c0, uid : failed to open network namespace "/var/run/netns/cni-a": no such file or directory`)),
			"the port-forward ended: the pod's network is gone", "the pod's network is gone"},
		{forward(errors.New(`error forwarding port 36297 to pod 5bd8c0, uid : failed to execute portforward in network namespace "/var/run/netns/cni-a": ` +
			`failed to connect to localhost:36297 inside namespace "5bd8c0", IPv4: dial tcp4 127.0.0.1:36297: connect: connection refused`)),
			"the port-forward ended: nothing listens on kdiag's port in the pod", "nothing listens on kdiag's port in the pod"},
		{forward(errors.New("error forwarding port 36297 to pod 5bd8c0, uid : read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer")),
			"the port-forward ended: kdiag's container in the pod broke it off", ""},
		{forward(errors.New(`error forwarding port 1 to pod 5bd8c0, uid : failed to find sandbox "5bd8c0" in store: not found`)),
			"", "the pod's sandbox is gone"},
		{fmt.Errorf("connection lost: read: %w", io.EOF), "the port-forward was closed at the pod's end", "the manager closed the connection unanswered"},
		{mux.ErrPeerEnded, "the manager ended the session", ""},
		{&mux.TurnedAwayError{Err: io.EOF}, "", "the manager closed the connection unanswered"},
		{fmt.Errorf("TLS: %w", mux.ErrWrongKey), "", "the key of what listens at the manager's port is wrong"},
		{forward(fmt.Errorf("API server x closed the connection without an answer: %w", io.EOF)), "", "API server x closed the connection without an answer"},
		{fmt.Errorf("wait for the manager: %w", os.ErrDeadlineExceeded), "", "wait for the manager: i/o timeout"},
	} {
		for want, got := range map[string]string{c.loss: explainLoss(c.err).Error(), c.failure: explainFailure(c.err).Error()} {
			if want != "" && got != want {
				t.Errorf("%v is explained as %q, want %q", c.err, got, want)
			}
			if strings.Contains(got, "EOF") {
				t.Errorf("%v is explained as %q", c.err, got)
			}
		}
	}
}
