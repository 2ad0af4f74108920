package redirectclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"kdiag/mux"
)

// fakeStream is a stream that sends as much as is taken, and takes all.
type fakeStream struct {
	header mux.Header
	gone   chan struct{} // closed when the caller resets
	ended  chan struct{} // closed by Reset
	once   sync.Once
}

func newFakeStream(redirect uint32) *fakeStream {
	return &fakeStream{header: mux.Header{Redirect: redirect}, gone: make(chan struct{}), ended: make(chan struct{})}
}

func (s *fakeStream) Header() mux.Header          { return s.header }
func (s *fakeStream) PeerReset() <-chan struct{}  { return s.gone }
func (s *fakeStream) Write(p []byte) (int, error) { return len(p), nil }
func (s *fakeStream) CloseWrite() error           { return nil }
func (s *fakeStream) Close() error                { return nil }
func (s *fakeStream) Reset()                      { s.once.Do(func() { close(s.ended) }) }

func (s *fakeStream) Read(p []byte) (int, error) {
	select {
	case <-s.gone:
		return 0, mux.ErrReset
	case <-s.ended:
		return 0, net.ErrClosed
	default:
		return len(p), nil
	}
}

// newServing makes a client that has one redirect, with the ID 1, to local.
func newServing(t *testing.T, local string, size int) (*Client, events) {
	t.Helper()
	e := make(events, size)
	c := New(Config{}, e)
	c.redirects[1] = &redirect{Spec: Spec{Port: 80, Local: local}}
	return c, e
}

// newCarrier makes a carrier whose session lasts.
func newCarrier() *carrier {
	return &carrier{ended: make(chan struct{}), open: map[*carried]struct{}{}}
}

// waitForAll waits for a group that must end soon.
func waitForAll(t *testing.T, what string, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); group.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("still waiting for %s", what)
	}
}

// TestCallerGoneWhileDialling ends the dial for a caller that has reset its connection.
func TestCallerGoneWhileDialling(t *testing.T) {
	c, e := newServing(t, "local:1", 4)
	dialling := make(chan struct{})
	c.dial = func(ctx context.Context, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}

	stream := newFakeStream(1)
	c.acceptConnection(t.Context(), newCarrier(), stream)
	<-dialling
	close(stream.gone)
	waitForAll(t, "the dial", &c.serving)
	next[Connection](t, e)
	if got := next[ConnectionRefused](t, e); !errors.Is(got.Err, errCallerGone) {
		t.Errorf("event %+v, want that the caller has gone", got)
	}
}

// TestLyingManager has streams come that no honest manager opens. Each is reset, and few are told
// of.
func TestLyingManager(t *testing.T) {
	const streams = 10_000
	c, e := newServing(t, "local:1", streams)
	for i := range streams {
		stream := newFakeStream(99)
		c.serveConnection(t.Context(), newCarrier(), stream)
		if !isEnded(stream) {
			t.Fatalf("stream %d was not reset", i)
		}
	}

	if n := len(e); n != 7 { // 1, 2, 3, 10, 100, 1000 and 10000
		t.Errorf("%d problems, want 7", n)
	}
	last := Problem{}
	for len(e) > 0 {
		last = next[Problem](t, e)
	}
	if want := "reset connections that belong to no redirect of this session, the last from invalid AddrPort: 10000"; last.Err.Error() != want {
		t.Errorf("last problem %q, want %q", last.Err, want)
	}
}

func isEnded(s *fakeStream) bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// TestTooManyConnections resets what is beyond the limit.
func TestTooManyConnections(t *testing.T) {
	c, e := newServing(t, "local:1", 4)
	c.served.Store(maxServed)
	stream := newFakeStream(1)
	c.acceptConnection(t.Context(), newCarrier(), stream)
	if !isEnded(stream) || c.served.Load() != maxServed {
		t.Errorf("served %d, reset %t, want %d and a reset", c.served.Load(), isEnded(stream), maxServed)
	}
	next[Problem](t, e)
}

// startPaused starts a program that takes connections and reads nothing.
func startPaused(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	all.Go(func() {
		var conns []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(64 << 10)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	return listener.Addr().String()
}

// TestPausedProgram uploads without end over many connections into a program that does not read.
// The memory for it is bounded, and all of it can be ended.
func TestPausedProgram(t *testing.T) {
	const uploads, limit = 1000, copyMemory + 1000*(48<<10)
	c, _ := newServing(t, startPaused(t), 2*uploads)
	c.dial = func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dialProgram(ctx, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(64 << 10) // not the kernel's memory, either
		}
		return conn, err
	}

	before := memoryInUse()
	var streams []*fakeStream
	for range uploads {
		stream := newFakeStream(1)
		streams = append(streams, stream)
		c.acceptConnection(t.Context(), newCarrier(), stream)
	}

	waitUntilStuck(t, c)
	if used := memoryInUse() - before; used > limit {
		t.Errorf("%d uploads use %d bytes, want %d at most", uploads, used, limit)
	}

	for _, stream := range streams {
		close(stream.gone)
	}
	c.abortLocals()
	waitForAll(t, "the uploads", &c.serving)
}

// waitUntilStuck waits until all connections are there and no byte moves.
func waitUntilStuck(t *testing.T, c *Client) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for last := int64(-1); ; {
		c.mu.Lock()
		open := len(c.locals)
		c.mu.Unlock()
		now := c.received.Load()
		if open == 1000 && now == last {
			return
		}
		if last = now; time.Now().After(deadline) {
			t.Fatalf("%d connections, %d bytes, and still moving", open, now)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// memoryInUse returns the bytes of the heap and of stacks.
func memoryInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestMoved has moves come before the redirect is reported, twice, at once, and after its end.
func TestMoved(t *testing.T) {
	first, second := []netip.Addr{netip.MustParseAddr("10.0.0.1")}, []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	e := newEvents()
	r := &redirect{}
	r.reportMoved(e, RedirectMoved{Addresses: second})
	if len(e) != 0 {
		t.Error("a move was reported before its redirect")
	}

	r.reportStarted(e, RedirectStarted{Addresses: first})
	next[RedirectStarted](t, e)
	if got := next[RedirectMoved](t, e); !reflect.DeepEqual(got.Addresses, second) || len(got.Added) != 1 || got.Added[0].Addr() != second[0] {
		t.Errorf("moved to %+v, want %v", got, second)
	}
	r.reportMoved(e, RedirectMoved{Addresses: first}) // no news

	third := append(second, netip.MustParseAddr("10.0.0.3"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { r.reportMoved(e, RedirectMoved{Addresses: third}) })
	}
	all.Wait()
	r.silence()
	r.reportMoved(e, RedirectMoved{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}})
	if next[RedirectMoved](t, e); len(e) != 0 {
		t.Errorf("%d more moves were reported, want none", len(e))
	}
}
