package redirectclient

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/redirectserver"
	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/netfilter"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// podSide is the manager's side of redirects, as it runs in a pod, on a kernel
// that redirects by word of mouth: a caller asks it where the listener is.
type podSide struct {
	user ed25519.PrivateKey

	manager // the one that runs now

	mu        sync.Mutex
	attaching func()                        // is called while a rule is made, unless it is nil
	rules     map[uint16]netfilter.Redirect // by their port
	refuse    map[uint16]bool
	changed   chan struct{} // closed and replaced when rules change
}

// destination is what every caller wanted to reach.
var destination = netip.MustParseAddr("10.0.0.7")

func startPodSide(t *testing.T) *podSide {
	t.Helper()
	p := &podSide{
		user:  muxtest.NewKey(t),
		rules: map[uint16]netfilter.Redirect{}, refuse: map[uint16]bool{}, changed: make(chan struct{}),
	}
	p.startManager(t)
	t.Cleanup(func() { p.stopManager(t) })
	return p
}

// manager is one that can be reached by its listener.
type manager struct {
	key      ed25519.PrivateKey
	listener pipeListener
	server   *redirectserver.Server
	stop     context.CancelFunc
	served   chan error
}

func (p *podSide) startManager(t *testing.T) {
	t.Helper()
	key := muxtest.NewKey(t)
	server, err := redirectserver.New(redirectserver.Config{
		Key: key, User: mux.PublicText(p.user), Version: "v1", ID: "test", Log: slog.New(slog.DiscardHandler),
		OpenBackend:         func(string, netfilter.Config) (netfilter.Backend, error) { return p, nil },
		OriginalDestination: p.originalDestination, AwayPatience: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	m := manager{key, newPipeListener(), server, stop, make(chan error, 1)}
	go func() { m.served <- server.Serve(ctx, m.listener, newPipeListener()) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.manager = m
}

func (p *podSide) stopManager(t *testing.T) {
	t.Helper()
	p.stop()
	if err := errors.Join(<-p.served, p.server.Close()); err != nil {
		t.Errorf("the manager's side: %v", err)
	}
}

// Name, Attach, Detach and Close are netfilter.Backend's.
func (p *podSide) Name() string { return "nft" }
func (p *podSide) Close() error { return nil }

func (p *podSide) Attach(rule netfilter.Redirect) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse[rule.Port] {
		return &netfilter.HeldError{Redirect: rule, Holder: "you@there"}
	}
	if attaching := p.attaching; attaching != nil {
		p.mu.Unlock()
		attaching()
		p.mu.Lock()
	}
	p.rules[rule.Port] = rule
	p.tellChange()
	return nil
}

func (p *podSide) Detach(rule netfilter.Redirect) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rules, rule.Port)
	p.tellChange()
	return nil
}

func (p *podSide) tellChange() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// originalDestination finds which rule leads to the listener that took a
// connection.
func (p *podSide) originalDestination(conn syscall.Conn) (netip.AddrPort, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken, ok := conn.(net.Conn)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("a %T", conn)
	}

	for _, rule := range p.rules {
		if address, ok := taken.LocalAddr().(*net.TCPAddr); ok && address.Port == int(rule.Listener) {
			return netip.AddrPortFrom(destination, rule.Port), nil
		}
	}

	return netip.AddrPort{}, errors.New("no rule leads there")
}

// call connects to a redirected port, as a client of the pod's would.
func (p *podSide) call(t *testing.T, port uint16) net.Conn {
	t.Helper()
	conn, err := p.dial(t, port)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (p *podSide) dial(t *testing.T, port uint16) (net.Conn, error) {
	t.Helper()
	p.mu.Lock()
	rule, ok := p.rules[port]
	p.mu.Unlock()
	if !ok {
		t.Fatalf("port %d is not redirected", port)
	}

	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", rule.Listener))
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// waitUntilFree waits until no rule leads a port here.
func (p *podSide) waitUntilFree(t *testing.T, port uint16) {
	t.Helper()
	for {
		p.mu.Lock()
		_, there := p.rules[port]
		changed := p.changed
		p.mu.Unlock()
		if !there {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("port %d is redirected still", port)
		}
	}
}

// pipeListener hands out the far ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func newPipeListener() pipeListener {
	return pipeListener{make(chan net.Conn), make(chan struct{}), new(sync.Once)}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// open connects a client with the manager over a pipe.
func (p *podSide) open(t *testing.T, c *Client) (session *mux.Session, laptopEnd net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	p.listener.conns <- far
	session, err := mux.Client(t.Context(), near, p.user, p.keyHash(), c.SessionOptions())
	if err != nil {
		t.Fatal(err)
	}
	return session, near
}

// keyHash returns the hash of the manager's public key.
func (p *podSide) keyHash() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	public, _ := p.key.Public().(ed25519.PublicKey)
	return mux.HashKey(public)
}

// events collects what a client reports.
type events chan any

func newEvents() events { return make(events, 64) }

func (e events) PodChosen(x PodChosen)                 { e <- x }
func (e events) RedirectStarted(x RedirectStarted)     { e <- x }
func (e events) ProbesCounted(x ProbesCounted)         { e <- x }
func (e events) ConnectionsReset(x ConnectionsReset)   { e <- x }
func (e events) Paused(x Paused)                       { e <- x }
func (e events) RedirectMoved(x RedirectMoved)         { e <- x }
func (e events) ConnectionOpened(x Connection)         { e <- x }
func (e events) ConnectionRefused(x ConnectionRefused) { e <- x }
func (e events) ConnectionClosed(x ConnectionClosed)   { e <- x }
func (e events) Problem(x Problem)                     { e <- x }
func (e events) DrainStarted(x DrainStarted)           { e <- x }
func (e events) Disconnected(x Disconnected)           { e <- x }
func (e events) Reconnected(x Reconnected)             { e <- x }
func (e events) SessionLost(x SessionLost)             { e <- x }
func (e events) Finished(x Summary)                    { e <- x }

// next waits for the next event, which must be a T.
func next[T any](t *testing.T, e events) T {
	t.Helper()
	select {
	case event := <-e:
		got, ok := event.(T)
		if !ok {
			t.Fatalf("event %T %+v, want a %T", event, event, got)
		}
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
	}
	panic("unreachable")
}

// program is a program on the laptop that answers each line with itself.
func startEcho(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	return listener.Addr().String()
}

var webPod = Pod{"default", "web"}

// running is a client under way.
type running struct {
	client *Client
	events events
	cancel context.CancelFunc
	done   chan error
	ended  chan struct{} // closed after done
	laptop net.Conn
}

func start(t *testing.T, p *podSide, c Config) *running {
	t.Helper()
	return startDialling(t, p, c, dialProgram)
}

// startDialling starts a client that connects to programs by dial.
func startDialling(t *testing.T, p *podSide, c Config, dial dialFunc) *running {
	t.Helper()
	c.Version, c.Holder, c.Backend, c.Timeout = "v1", "me@here", "auto", time.Minute
	r := &running{events: newEvents(), done: make(chan error, 1)}
	r.client = New(c, r.events)
	r.client.dial = dial
	var session *mux.Session
	session, r.laptop = p.open(t, r.client)

	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.done <- r.client.Run(ctx, webPod, session, func() {}) }()
	t.Cleanup(cancel)
	return r
}

// echo sends a line over a connection and wants it back.
func echo(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != line+"\n" {
		t.Fatalf("read %q, %v, want %q", got, err, line)
	}
}

// TestConnectionComesHere follows one connection from its caller in the pod to
// the program here and back, and the events that tell of it.
func TestConnectionComesHere(t *testing.T) {
	p := startPodSide(t)
	spec := Spec{Port: 8080, Local: startEcho(t)}
	r := start(t, p, Config{Redirects: []Spec{spec}})
	if e := next[RedirectStarted](t, r.events); e.Pod != webPod || e.Redirect != spec || e.Backend != "nft" {
		t.Errorf("event %+v, want redirect %v by nft", e, spec)
	}

	conn := p.call(t, 8080)
	opened := next[Connection](t, r.events)
	source := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if want := (Connection{webPod, spec, source, netip.AddrPortFrom(destination, 8080)}); opened != want {
		t.Errorf("event %+v, want %+v", opened, want)
	}

	echo(t, conn, "hello")
	if c := r.client.Counters(); c.Open != 1 || c.Total != 1 {
		t.Errorf("counters %+v, want one open", c)
	}

	_ = conn.Close()
	closed := next[ConnectionClosed](t, r.events)
	if closed.Connection != opened || closed.Received != 6 || closed.Sent != 6 || closed.Err != nil {
		t.Errorf("event %+v, want 6 bytes each way and a good end", closed)
	}

	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if e := next[Summary](t, r.events); e.Pod != webPod || e.Counters != (Counters{Total: 1, Received: 6, Sent: 6}) {
		t.Errorf("summary %+v, want one connection of 6 bytes each way", e)
	}
	p.waitUntilFree(t, 8080)
}

// holdClosedPort returns an address of this machine that nobody listens on, and
// that nobody else gets meanwhile.
func holdClosedPort(t *testing.T) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })

	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}

	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket's name is a %T", name)
	}

	return fmt.Sprintf("127.0.0.1:%d", bound.Port)
}

// TestProgramIsNotThere gives the caller a reset, as the pod would.
func TestProgramIsNotThere(t *testing.T) {
	p := startPodSide(t)
	local := holdClosedPort(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 8080, Local: local}}})
	next[RedirectStarted](t, r.events)
	conn, callErr := p.dial(t, 8080)
	next[Connection](t, r.events)
	if e := next[ConnectionRefused](t, r.events); e.Err == nil || e.Err.Error() != "nothing listens on "+local {
		t.Errorf("event %+v, want that nothing listens on %s", e, local)
	}
	// The reset may come before connect(2) has returned.
	if callErr == nil {
		_, callErr = conn.Read(make([]byte, 1))
	}
	if !errors.Is(callErr, syscall.ECONNRESET) {
		t.Errorf("the caller gets %v, want a reset", callErr)
	}

	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if e := next[Summary](t, r.events); e.Counters != (Counters{Total: 1, Refused: 1}) {
		t.Errorf("summary %+v, want one refused", e)
	}
}

// TestDrain gives new connections back at once, and lets the one in flight end.
func TestDrain(t *testing.T) {
	p := startPodSide(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}, Drain: time.Minute})
	next[RedirectStarted](t, r.events)
	conn := p.call(t, 8080)
	next[Connection](t, r.events)
	echo(t, conn, "before")

	r.cancel()
	if e := next[DrainStarted](t, r.events); e != (DrainStarted{webPod, 1, time.Minute, false}) {
		t.Errorf("event %+v, want one connection and a minute", e)
	}
	p.waitUntilFree(t, 8080)
	echo(t, conn, "after")

	_ = conn.Close()
	if e := next[ConnectionClosed](t, r.events); e.Err != nil || e.Sent != int64(len("before\nafter\n")) {
		t.Errorf("event %+v, want all bytes and a good end", e)
	}
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestSessionLost says so once, and returns an error with what to do.
func TestSessionLost(t *testing.T) {
	p := startPodSide(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}})
	next[RedirectStarted](t, r.events)
	_ = r.laptop.Close()

	if e := next[SessionLost](t, r.events); e.Pod != webPod || e.Err == nil {
		t.Errorf("event %+v, want why", e)
	}
	next[Summary](t, r.events)
	err := <-r.done
	if err == nil || !strings.HasPrefix(err.Error(), "the session with pod default/web ended: ") {
		t.Errorf("Run = %v, want that the session ended", err)
	}
	p.waitUntilFree(t, 8080)
}

// TestHeldPort is an error where the port was named; of every port it is
// reported, and the others are redirected.
func TestHeldPort(t *testing.T) {
	p := startPodSide(t)
	p.refuse[81] = true
	local := startEcho(t)

	r := start(t, p, Config{Redirects: []Spec{{Port: 80, Local: local}, {Port: 81, Local: local}}})
	next[RedirectStarted](t, r.events)
	err := <-r.done
	if err == nil || !strings.Contains(err.Error(), "redirect 81 in pod default/web") || !strings.Contains(err.Error(), "you@there") || len(applets.Hints(err)) == 0 {
		t.Errorf("Run = %v with hints %q, want who holds port 81", err, applets.Hints(err))
	}
	p.waitUntilFree(t, 80)

	r = start(t, p, Config{FindPorts: func(context.Context) ([]uint16, error) { return []uint16{80, 81, 82}, nil }})
	if e := next[RedirectStarted](t, r.events); e.Redirect != (Spec{Port: 80, Local: "localhost:80"}) {
		t.Errorf("event %+v, want port 80 to the same port here", e)
	}
	if e := next[Problem](t, r.events); e.Pod != webPod || !strings.Contains(e.Err.Error(), "you@there") {
		t.Errorf("event %+v, want who holds port 81", e)
	}
	next[RedirectStarted](t, r.events)

	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	// What was never redirected is not given back, so there is no problem of it.
	next[Summary](t, r.events)
}

// TestNoPorts fails with the reason that FindPorts gives.
func TestNoPorts(t *testing.T) {
	p := startPodSide(t)
	none := errors.New("nothing listens")
	r := start(t, p, Config{FindPorts: func(context.Context) ([]uint16, error) { return nil, none }})
	if err := <-r.done; !errors.Is(err, none) {
		t.Errorf("Run = %v, want %v", err, none)
	}
}

// TestProxyProtocol tells the local program who called whom.
func TestProxyProtocol(t *testing.T) {
	p := startPodSide(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}, ProxyProtocol: true})
	next[RedirectStarted](t, r.events)
	conn := p.call(t, 8080)

	// PROXY protocol, 2.2: the signature, then version 2 and command PROXY.
	head := make([]byte, 13)
	if _, err := io.ReadFull(conn, head); err != nil || string(head[:12]) != "\r\n\r\n\x00\r\nQUIT\n" || head[12] != 0x21 {
		t.Errorf("the local program was told %q, %v, want a PROXY header of version 2", head, err)
	}
	_ = conn.Close()
	r.cancel()
	<-r.done
}

// TestManyAtOnce has connections come while redirects are made and given back:
// the race detector and the counters watch.
func TestManyAtOnce(t *testing.T) {
	p := startPodSide(t)
	local := startEcho(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 80, Local: local}, {Port: 81, Local: local}}, Drain: time.Minute})
	next[RedirectStarted](t, r.events)
	next[RedirectStarted](t, r.events)

	const callers = 20
	var conns []net.Conn
	for i := range callers {
		conns = append(conns, p.call(t, uint16(80+i%2)))
	}
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Go(func() {
			line := fmt.Sprintf("line %d\n", i)
			if _, err := io.WriteString(conn, line); err != nil {
				t.Error(err)
			}
			if got, err := bufio.NewReader(conn).ReadString('\n'); err != nil || got != line {
				t.Errorf("read %q, %v, want %q", got, err, line)
			}
			_ = conn.Close()
		})
	}

	all.Wait()
	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if c := r.client.Counters(); c.Open != 0 || c.Total != callers || c.Refused != 0 || c.Received != c.Sent {
		t.Errorf("counters %+v, want %d connections, all echoed", c, callers)
	}
}

// TestDialEndsWithSession loses the session while the local program does not answer.
func TestDialEndsWithSession(t *testing.T) {
	p := startPodSide(t)
	dialling := make(chan struct{})
	r := startDialling(t, p, Config{Redirects: []Spec{{Port: 8080, Local: "local:1"}}},
		func(ctx context.Context, _ string) (net.Conn, error) {
			close(dialling)
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("the dial ended with %v, want that it was cancelled", ctx.Err())
			}
			return nil, ctx.Err()
		})
	next[RedirectStarted](t, r.events)
	p.call(t, 8080)
	<-dialling
	_ = r.laptop.Close()
	if err := <-r.done; err == nil {
		t.Error("Run = nil, want that the session ended")
	}
}

func TestSpecString(t *testing.T) {
	for want, spec := range map[string]Spec{
		"80":                   {Port: 80},
		"outgoing 80":          {Port: 80, Outgoing: true},
		"outgoing db:80":       {Port: 80, Outgoing: true, Host: "db"},
		"outgoing [fd00::1]:8": {Port: 8, Outgoing: true, Host: "fd00::1"},
	} {
		if got := spec.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", spec, got, want)
		}
	}
}
