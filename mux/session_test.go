package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/mux/wire"
)

func TestCall(t *testing.T) {
	events := make(chan string, 1)
	client, server := newSessions(t, SessionOptions{
		Event: func(name string, body json.RawMessage) { events <- name + string(body) },
	}, SessionOptions{
		Handle: func(ctx context.Context, name string, body json.RawMessage) (any, error) {
			switch name {
			case "double":
				var n int
				err := json.Unmarshal(body, &n)
				return 2 * n, err
			case "refuse":
				return nil, &RemoteError{Code: wire.CodeHeld, Message: "no", Hint: "ask"}
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}, nil)

	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			var got int
			if err := client.Call(t.Context(), "double", i, &got); err != nil || got != 2*i {
				t.Errorf("double %d = %d, %v", i, got, err)
			}
		})
	}

	all.Wait()
	var refusal *RemoteError
	if err := client.Call(t.Context(), "refuse", nil, nil); !errors.As(err, &refusal) || *refusal != (RemoteError{wire.CodeHeld, "no", "ask"}) {
		t.Errorf("refuse = %v, want the RemoteError whole", err)
	}
	if err := server.Call(t.Context(), "anything", nil, nil); err == nil || !strings.Contains(err.Error(), "takes no requests") {
		t.Errorf("request to a side that takes none = %v", err)
	}
	if err := server.Notify("happened", 7); err != nil {
		t.Fatal(err)
	}
	if got := <-events; got != "happened7" {
		t.Errorf("event = %q", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Call(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up = %v", err)
	}

	ended := make(chan error)
	go func() { ended <- client.Call(t.Context(), "wait", nil, nil) }()
	go func() { _ = server.Close() }()
	if err := <-ended; err == nil {
		t.Error("a call whose session ended = nil")
	}
	if err := client.Notify("x", strings.Repeat("x", maxMessage)); err == nil {
		t.Error("an event over the bound = nil")
	}
}

func TestStreams(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	want := Header{Redirect: 7, Source: netip.MustParseAddrPort("10.0.0.9:4321"), Destination: netip.MustParseAddrPort("[fd00::1]:80")}
	far, err := server.Open(want)
	if err != nil {
		t.Fatal(err)
	}

	near, err := client.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if near.Header() != want {
		t.Fatalf("header = %+v, want %+v", near.Header(), want)
	}

	// An upload, its end, and a reply that comes only after that.
	upload, reply := bytes.Repeat([]byte("up"), 1<<20), bytes.Repeat([]byte("down"), 1<<18)
	go func() {
		got, err := io.ReadAll(near)
		if err != nil || !bytes.Equal(got, upload) {
			t.Errorf("upload: %d bytes, %v", len(got), err)
		}
		_, _ = near.Write(reply)
		_ = near.CloseWrite()
		_ = near.Close()
	}()

	if _, err = far.Write(upload); err != nil {
		t.Fatal(err)
	}
	if err = far.CloseWrite(); err != nil {
		t.Fatal(err)
	}

	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, reply) {
		t.Errorf("reply after the half-close: %d bytes, %v, want %d", len(got), err, len(reply))
	}

	_ = far.Close()
	waitUntilGone(t, client, server)
}

func countConns(s *Session) int { return len(s.listConns()) }

// waitUntil waits until a condition holds. It looks again every millisecond, because yamux tells
// nobody when a stream is gone.
func waitUntil(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()

	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
	}
}

// TestReset resets streams right after data, from either side: the other side
// must never read a clean end.
func TestReset(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for i := range 200 {
		near, far := newStreams(t, client, server)
		if i%2 == 0 {
			near, far = far, near
		}
		if _, err := near.Write([]byte("half a message")); err != nil {
			t.Fatal(err)
		}

		near.Reset()
		if _, err := io.ReadAll(far); !errors.Is(err, ErrReset) {
			t.Fatalf("round %d: read after the peer's reset: %v, want ErrReset", i, err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, ErrReset) {
			t.Fatalf("round %d: write after the peer's reset: %v, want ErrReset", i, err)
		}

		_ = far.Close()
	}

	waitUntilGone(t, client, server)
}

// TestResetAfterHalfClose resets a stream whose receiver has half-closed it: its
// reader must not see an end.
func TestResetAfterHalfClose(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for i := range 200 {
		near, far := newStreams(t, client, server)
		if err := far.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(near); err != nil {
			t.Fatal(err)
		}

		near.Reset()
		if _, err := io.ReadAll(far); !errors.Is(err, ErrReset) {
			t.Fatalf("round %d: read after the peer's reset: %v, want ErrReset", i, err)
		}

		_ = far.Close()
	}

	waitUntilGone(t, client, server)
}

// TestResetCrossing has both sides reset at once.
func TestResetCrossing(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for range 200 {
		near, far := newStreams(t, client, server)
		var both sync.WaitGroup
		both.Go(near.Reset)
		both.Go(far.Reset)
		both.Wait()
	}
	waitUntilGone(t, client, server)
}

// TestResetEarly resets streams that nobody has accepted yet.
func TestResetEarly(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for range 20 {
		far, err := server.Open(Header{})
		if err != nil {
			t.Fatal(err)
		}
		far.Reset()
	}

	for i := range 20 {
		near, err := client.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Errorf("stream %d: read: %v, want ErrReset", i, err)
		}
		_ = near.Close()
	}

	waitUntilGone(t, client, server)
}

// waitUntilGone waits until a session has no connection left, and all of its lanes are free.
func waitUntilGone(t *testing.T, client, server *Session) {
	t.Helper()
	waitUntil(t, "all streams to be gone", func() bool {
		server.mu.Lock()
		used := len(server.lanes) - len(server.freeLanes)
		server.mu.Unlock()
		return used == 0 && countConns(client) == 0 && countConns(server) == 0
	})
	if held := client.options.Budget.given() + server.options.Budget.given(); held != 0 {
		t.Errorf("%d bytes of credit are left that nobody has", held)
	}
}

// TestResetUnblocks resets a stream under a blocked Read and a blocked Write,
// with a window that is full both ways.
func TestResetUnblocks(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	near, far := newStreams(t, client, server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		all.Go(func() { _, _ = io.Copy(near, zeroReader{}) })
		all.Go(func() { _, _ = io.Copy(far, zeroReader{}) })
		other, otherFar := newStreams(t, client, server)
		all.Go(func() { _, _ = io.ReadAll(other) })
		all.Go(func() { _, _ = io.ReadAll(otherFar) })
		far.Reset()
		otherFar.Reset()
		all.Wait()
		_, _ = near.Close(), other.Close() // what the peer sent is still there
	}()

	waitFor(t, "blocked reads and writes to end", done)
	waitUntilGone(t, client, server)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { return len(p), nil }

// TestSessionDeathIsNoEnd kills the connection: yamux's streams then return io.EOF, ours must not.
func TestSessionDeathIsNoEnd(t *testing.T) {
	var below net.Conn
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, func(a, b net.Conn) (net.Conn, net.Conn) { below = a; return a, b })
	near, far := newStreams(t, client, server)
	_ = below.Close()
	for name, conn := range map[string]*Conn{"client": near, "server": far} {
		if _, err := io.ReadAll(conn); !errors.Is(err, ErrReset) {
			t.Errorf("%s: read after the connection went: %v, want ErrReset", name, err)
		}
	}

	waitFor(t, "both sessions to end", client.Done())
	waitFor(t, "both sessions to end", server.Done())
	if server.Err() == nil {
		t.Errorf("Err() = %v, want an error", server.Err())
	}
}

// frozenConn stops reading when told to, as if the peer's process stood still or the network let
// nothing through.
type frozenConn struct {
	net.Conn
	stop   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (f *frozenConn) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.stop.Load() {
		<-f.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (f *frozenConn) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

func TestHeartbeat(t *testing.T) {
	quick := SessionOptions{Heartbeat: 20 * time.Millisecond, Dead: 400 * time.Millisecond}
	t.Run("a dead peer", func(t *testing.T) {
		var ice *frozenConn
		client, server := newSessions(t, quick, SessionOptions{}, func(a, b net.Conn) (net.Conn, net.Conn) {
			ice = &frozenConn{Conn: a, closed: make(chan struct{})}
			return ice, b
		})
		near, _ := newStreams(t, client, server)
		ice.stop.Store(true)
		waitFor(t, "the dead peer to be noticed", client.Done())
		if client.Err() == nil {
			t.Error("Err() = nil, want the silence")
		}
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Errorf("read = %v, want ErrReset", err)
		}
	})

	t.Run("an idle one", func(t *testing.T) {
		// Nothing but heartbeats is sent, for much longer than Dead.
		enough := int64(3 * quick.Dead / quick.Heartbeat)
		ours, theirs := newWriteCount(enough), newWriteCount(enough)
		client, server := newSessions(t, quick, quick, func(a, b net.Conn) (net.Conn, net.Conn) {
			ours.Conn, theirs.Conn = a, b
			return ours, theirs
		})

		waitFor(t, "the client's heartbeats", ours.reached)
		waitFor(t, "the server's heartbeats", theirs.reached)
		if client.Err() != nil || server.Err() != nil {
			t.Errorf("an idle session ended: %v, %v", client.Err(), server.Err())
		}
	})

	t.Run("a saturated one", func(t *testing.T) {
		// Slow both ways, so that a heartbeat waits for longer than Dead.
		client, server := newSessions(t, quick, quick, func(a, b net.Conn) (net.Conn, net.Conn) { return &slowConn{Conn: a}, &slowConn{Conn: b} })
		near, far := newStreams(t, client, server)
		stop := time.AfterFunc(4*quick.Dead, func() { near.Reset() })
		defer stop.Stop()
		var all sync.WaitGroup
		for _, conn := range []*Conn{near, far} {
			all.Go(func() { _, _ = io.Copy(conn, zeroReader{}) })
			all.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		}

		all.Wait()
		if client.Err() != nil || server.Err() != nil {
			t.Errorf("a saturated session ended: %v, %v", client.Err(), server.Err())
		}
	})
}

// slowConn passes on about 200 KB/s: each Write takes as long as its bytes would.
type slowConn struct{ net.Conn }

func (s *slowConn) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)) * 5 * time.Microsecond)
	return s.Conn.Write(p)
}

// writeCount counts the Writes that reach a connection, and closes reached at one of them.
type writeCount struct {
	net.Conn
	n       atomic.Int64
	goal    int64
	reached chan struct{}
}

func newWriteCount(goal int64) *writeCount {
	return &writeCount{goal: goal, reached: make(chan struct{})}
}

func (w *writeCount) Write(p []byte) (int, error) {
	if w.n.Add(1) == w.goal {
		close(w.reached)
	}
	return w.Conn.Write(p)
}

// TestOneRecord sends small pieces: header and body must leave in one write.
func TestOneRecord(t *testing.T) {
	counted := newWriteCount(-1)
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, func(a, b net.Conn) (net.Conn, net.Conn) {
		counted.Conn = a
		return counted, b
	})
	near, far := newStreams(t, client, server)
	const pieces = 50
	echoed := make([]byte, 10)
	before := counted.n.Load()
	for range pieces {
		if _, err := near.Write(echoed); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(far, echoed); err != nil {
			t.Fatal(err)
		}
	}

	if got := counted.n.Load() - before; got > pieces+2 {
		t.Errorf("%d pieces took %d writes, want one each", pieces, got)
	}
}

// TestLooksLikeAHeader sends pieces as long as a frame's header that read like
// one: they must not wait for a body of their own.
func TestLooksLikeAHeader(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	near, far := newStreams(t, client, server)
	for _, piece := range []string{"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09", "\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00"} {
		if _, err := near.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(far, got); err != nil || string(got) != piece {
			t.Errorf("%q came as %q, %v", piece, got, err)
		}
	}
}

// TestYamuxClocks wants all of yamux's own timeouts turned off.
func TestYamuxClocks(t *testing.T) {
	c := yamuxConfig(SessionOptions{}.withDefaults())
	if c.EnableKeepAlive || c.StreamCloseTimeout != 0 || c.StreamOpenTimeout != 0 || c.ConnectionWriteTimeout < 1000*time.Hour {
		t.Errorf("yamux's timers are on: %+v", c)
	}
}

func TestYamuxLog(t *testing.T) {
	var text bytes.Buffer
	log := yamuxLogger{slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	log.Printf("[ERR] %d", 1)
	log.Println("two")
	log.Print("three")
	if got := text.String(); !strings.Contains(got, "[ERR] 1") || !strings.Contains(got, "two") || !strings.Contains(got, "three") {
		t.Errorf("log = %q", got)
	}
}

// TestWrongPeer wants nobody let in who does not have the pinned key.
func TestWrongPeer(t *testing.T) {
	clientTLS, serverTLS := newConfigs(t)
	strangerTLS, strangerServer := newConfigs(t)
	noCertificate := clientTLS.Clone()
	noCertificate.Certificates = nil
	old := clientTLS.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, c := range map[string]struct{ client, server *tls.Config }{
		"another user":    {strangerTLS, serverTLS},
		"another manager": {clientTLS, strangerServer},
		"no certificate":  {noCertificate, serverTLS},
		"TLS 1.2":         {old, serverTLS},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			refused := make(chan error, 1)
			go func() {
				host := &Host{tls: c.server, sessions: map[sessionID]*Session{}}
				s, err := host.Receive(t.Context(), far, SessionOptions{})
				if err == nil {
					_ = s.Close()
				}
				refused <- err
			}()

			_, _, err := sayHello(t.Context(), newTLSConn(near, c.client, tls.Client), hello{})
			_ = near.Close()
			if serverErr := <-refused; err == nil || serverErr == nil {
				t.Errorf("client: %v, server: %v, want both refused", err, serverErr)
			}
		})
	}

	for name, bytes := range map[string]string{"no TLS": "GET / HTTP/1.0\r\n\r\n", "nothing": "", "random": strings.Repeat("\x16\x03\x01\xff\xff", 99)} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			_, _ = near.Write([]byte(bytes))
			_ = near.CloseWrite()
			host := &Host{tls: serverTLS, sessions: map[sessionID]*Session{}}
			if _, err := host.Receive(t.Context(), far, SessionOptions{}); err == nil {
				t.Error("Receive = nil, want an error")
			}
		})
	}

	t.Run("a peer that says nothing", func(t *testing.T) {
		_, far := tcpPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		host := &Host{tls: serverTLS, sessions: map[sessionID]*Session{}}
		if _, err := host.Receive(ctx, far, SessionOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Receive = %v, want the deadline", err)
		}
	})
}
