package redirectserver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/testenv"
	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// ownNetworkVariable tells the test binary which test it runs in a network of its own.
const ownNetworkVariable = "KDIAG_REDIRECTSERVER_OWN_NETWORK"

// inOwnNetwork reports whether the process has a network namespace of its own, and else runs the
// test in one that has: a session's goroutines make sockets and rules on any thread.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	testenv.MustHaveRoot(t)
	if os.Getenv(ownNetworkVariable) == t.Name() {
		run(t, "ip", "link", "set", "lo", "up")
		run(t, "ip", "address", "replace", podIPv4+"/32", "dev", "lo")
		return true
	}

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), ownNetworkVariable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// run runs a program and returns what it printed.
func run(t testing.TB, words ...string) string {
	t.Helper()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v, printed %q", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, isSo func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !isSo(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("still waiting: %s", what)
		}
	}
}

// A road leads a laptop to its manager, unless it is blocked.
type road struct {
	manager string

	mu     sync.Mutex
	open   chan struct{} // closed while the road is open
	conns  []*roadConn
	dieAt  map[string]int // for the next connection: it dies at the Nth "read" or "write"
	failed atomic.Int64   // connections that died so
}

// A roadConn is a connection on a road, which can lose bytes before it is cut.
type roadConn struct {
	net.Conn
	road                  *road
	loseReads, loseWrites atomic.Bool
	lost                  atomic.Int64
	reads, writes         atomic.Int64
	dieAt                 map[string]int
}

func newRoad(manager string) *road {
	r := &road{manager: manager, open: make(chan struct{})}
	close(r.open)
	return r
}

// dial waits until the road is open, and connects.
func (r *road) dial(ctx context.Context) (net.Conn, error) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.manager)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	made := &roadConn{Conn: conn, road: r, dieAt: r.dieAt}
	r.dieAt = nil
	r.conns = append(r.conns, made)
	if r.open != open {
		made.cut()
	}
	return made, nil
}

// block cuts the connection, and lets none through until unblock.
func (r *road) block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = make(chan struct{})
	for _, conn := range r.conns {
		conn.cut()
	}
	r.conns = nil
}

// close lets no other connection through until unblock, and leaves the one that there is.
func (r *road) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = make(chan struct{})
}

func (r *road) unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.open)
}

// conn returns the connection in use.
func (r *road) conn() *roadConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[len(r.conns)-1]
}

func (c *roadConn) cut() { resetConnection(c.Conn) }

func (c *roadConn) die(at string, count int64) bool {
	if c.dieAt[at] == 0 || int64(c.dieAt[at]) != count {
		return false
	}
	c.road.failed.Add(1)
	c.cut()
	return true
}

func (c *roadConn) Write(b []byte) (int, error) {
	if c.loseWrites.Load() {
		c.lost.Add(int64(len(b)))
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	c.die("write", c.writes.Add(1))
	return n, err
}

func (c *roadConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if c.die("read", c.reads.Add(1)) {
			return 0, net.ErrClosed
		}
		if n == 0 || !c.loseReads.Load() {
			return n, err
		}
		c.lost.Add(int64(n))
	}
}

// hookBackend is the kernel, and has a test called before its rules change.
type hookBackend struct {
	netfilter.Backend
	changed  atomic.Int64
	onChange atomic.Pointer[func()]
}

func (b *hookBackend) hook() {
	b.changed.Add(1)
	if f := b.onChange.Load(); f != nil {
		(*f)()
	}
}

func (b *hookBackend) Attach(rule netfilter.Redirect) error {
	b.hook()
	return b.Backend.Attach(rule)
}

func (b *hookBackend) Detach(rule netfilter.Redirect) error {
	b.hook()
	return b.Backend.Detach(rule)
}

func (b *hookBackend) OpenTrials(rules []netfilter.Redirect) (*netfilter.Trials, error) {
	prover, ok := b.Backend.(netfilter.Prover)
	if !ok {
		return nil, errors.New("the back end proves nothing")
	}
	return prover.OpenTrials(rules)
}

func (b *hookBackend) KeepSource(port uint16, source netip.Addr) (func() error, error) {
	keeper, ok := b.Backend.(netfilter.SourceKeeper)
	if !ok {
		return nil, errors.New("the back end keeps no sources")
	}
	return keeper.KeepSource(port, source)
}

// A manager is a Server at work beside an application that greets with "app" at appPort.
type manager struct {
	server    *Server
	key, user ed25519.PrivateKey
	address   string
	backend   atomic.Pointer[hookBackend]
	stop      func() error // ends it and waits; a second call does nothing
}

const (
	appPort    = 8080
	appAddress = ":8080"
)

// startManager starts a manager, at whose end nothing of it may be left in the kernel.
func startManager(t *testing.T, patience time.Duration) *manager {
	t.Helper()
	return startManagerWith(t, func(c *Config) { c.AwayPatience = patience })
}

// startManagerWith starts a manager with a change in its configuration.
func startManagerWith(t *testing.T, change func(*Config)) *manager {
	t.Helper()
	m := &manager{key: muxtest.NewKey(t), user: muxtest.NewKey(t)}
	config := Config{
		Key: m.key, User: mux.PublicText(m.user), Version: "v1", ID: "away", Log: slog.New(slog.DiscardHandler),
		OpenBackend: func(name string, c netfilter.Config) (netfilter.Backend, error) {
			opened, err := netfilter.Open(name, c)
			if err != nil {
				return nil, err
			}
			hooked := &hookBackend{Backend: opened}
			m.backend.Store(hooked)
			return hooked, nil
		},
	}
	change(&config)
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	m.server = server

	listener, older := listenLocal(t), listenLocal(t)
	m.address = listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener, older) }()
	m.stop = sync.OnceValue(func() error {
		stop()
		return errors.Join(<-served, server.Close())
	})
	t.Cleanup(func() {
		if err := m.stop(); err != nil {
			t.Errorf("the manager: %v", err)
		}
		server.ruleSet.reserve.release()
		if rules := run(t, "nft", "list", "ruleset"); strings.Contains(rules, "away") || strings.Contains(rules, "@") {
			t.Errorf("left in the kernel:\n%s", rules)
		}
	})

	serveApplication(t)
	return m
}

func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// serveApplication greets with "app" at appPort.
func serveApplication(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", appAddress)
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
			_, _ = conn.Write([]byte("app"))
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
}

// A visitor is a laptop with a session, whose program greets with "lap" and then echoes.
type visitor struct {
	*mux.Session
	road    *road
	holder  string
	manager *manager
	trouble chan wire.Troubled
	refused chan wire.Refused
}

// visit connects a laptop.
func (m *manager) visit(t *testing.T, h wire.Hello) *visitor {
	t.Helper()
	v, err := m.tryVisit(t, h)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (m *manager) tryVisit(t *testing.T, h wire.Hello) (*visitor, error) {
	t.Helper()
	v := &visitor{road: newRoad(m.address), holder: h.Holder, manager: m, trouble: make(chan wire.Troubled, 100),
		refused: make(chan wire.Refused, 100)}
	conn, err := v.road.dial(t.Context())
	if err != nil {
		return nil, err
	}

	public, _ := m.key.Public().(ed25519.PublicKey)
	v.Session, err = mux.Client(t.Context(), conn, m.user, mux.HashKey(public), mux.SessionOptions{
		Redial: v.road.dial,
		Event: func(name string, body json.RawMessage) {
			var told wire.Troubled
			if name == wire.EventTroubled && json.Unmarshal(body, &told) == nil {
				v.trouble <- told
			}
			var counted wire.Refused
			if name == wire.EventRefused && json.Unmarshal(body, &counted) == nil {
				v.refused <- counted
			}
		},
	})
	if err != nil {
		return nil, err
	}

	var all sync.WaitGroup
	all.Go(func() { v.serveStreams(&all) })
	t.Cleanup(func() { _ = v.Close(); all.Wait() })
	return v, v.Call(t.Context(), wire.RequestHello, h, nil)
}

func (v *visitor) serveStreams(all *sync.WaitGroup) {
	for {
		stream, err := v.Accept()
		if err != nil {
			return
		}
		all.Go(func() {
			defer stream.Close()
			_, _ = stream.Write([]byte("lap"))
			if _, err := io.Copy(struct{ io.Writer }{stream}, struct{ io.Reader }{stream}); err != nil {
				stream.Reset()
				return
			}
			_ = stream.CloseWrite()
		})
	}
}

// attach redirects appPort.
func (v *visitor) attach(t *testing.T) {
	t.Helper()
	if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: appPort}, nil); err != nil {
		t.Fatal(err)
	}
}

// served returns the manager's side of the session.
func (v *visitor) served(t *testing.T) *redirectSession {
	t.Helper()
	v.manager.server.mu.Lock()
	defer v.manager.server.mu.Unlock()
	for s := range v.manager.server.sessions {
		s.mu.Lock()
		found := s.holder == v.holder
		s.mu.Unlock()
		if found {
			return s
		}
	}
	t.Fatalf("no session of %s", v.holder)
	return nil
}

// goAway cuts the laptop off, and waits until the manager knows.
func (v *visitor) goAway(t *testing.T) *redirectSession {
	t.Helper()
	s := v.served(t)
	v.road.block()
	eventually(t, "the manager to miss "+v.holder, func() bool { _, away := s.awaySince(); return away })
	return s
}

// stayAway cuts the laptop off, and waits until the manager's patience is over.
func (v *visitor) stayAway(t *testing.T) *redirectSession {
	t.Helper()
	s := v.goAway(t)
	v.wantOverdue(t, s)
	return s
}

func (v *visitor) wantOverdue(t *testing.T, s *redirectSession) {
	t.Helper()
	eventually(t, "the patience with "+v.holder+" to be over", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.laptopIs.overdue && !s.settling
	})
}

// comeBack opens the road, and waits until the redirects are settled.
func (v *visitor) comeBack(t *testing.T, s *redirectSession) {
	t.Helper()
	before := s.countReturns()
	v.road.unblock()
	eventually(t, v.holder+" to be back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.laptopIs.returns > before && !s.laptopIs.away && !s.settling
	})
}

// armed reports whether the kernel has a rule of the laptop's.
func (v *visitor) armed(t *testing.T) bool {
	t.Helper()
	return strings.Contains(run(t, "nft", "list", "ruleset"), v.holder)
}

func (v *visitor) wantArmed(t *testing.T, want bool, when string) {
	t.Helper()
	if got := v.armed(t); got != want {
		t.Errorf("%s: the kernel has a rule: %t, want %t", when, got, want)
	}
}

// wantNoTrouble wants that the laptop was told of none.
func (v *visitor) wantNoTrouble(t *testing.T) {
	t.Helper()
	select {
	case told := <-v.trouble:
		t.Errorf("told of trouble: %+v", told)
	default:
	}
}

// awaitTrouble waits until the laptop is told of trouble.
func (v *visitor) awaitTrouble(t *testing.T) wire.Troubled {
	t.Helper()
	select {
	case told := <-v.trouble:
		return told
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting for trouble to be told")
		return wire.Troubled{}
	}
}

// dialApp connects as a caller of the application does.
func dialApp(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", podIPv4+appAddress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// greeting reads who answers a caller: "app", "lap", or "reset" by a reset.
func greeting(conn net.Conn) string {
	var got [3]byte
	_, err := io.ReadFull(conn, got[:])
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case err != nil:
		return err.Error()
	}
	return string(got[:])
}

// wantGreeting calls and wants to be answered by somebody.
func wantGreeting(t *testing.T, want, when string) {
	t.Helper()
	got := "reset"
	conn, err := net.Dial("tcp", podIPv4+appAddress)
	switch {
	case err == nil:
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		got = greeting(conn)
	case !errors.Is(err, syscall.ECONNRESET):
		t.Fatal(err)
	}

	if got != want {
		t.Errorf("%s: a new connection got %q, want %q", when, got, want)
	}
}
