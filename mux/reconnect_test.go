package mux

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A cutter makes connections to a testHost, and cuts them.
type cutter struct {
	host *testHost
	made chan *Session // the host's sessions

	mu    sync.Mutex
	ends  []net.Conn // of the connection in use
	dials atomic.Int64
	serve sync.WaitGroup
}

func newCutter(t testing.TB) *cutter {
	return &cutter{host: newTestHost(t), made: make(chan *Session, 100)}
}

// dial makes a connection that the host serves.
func (c *cutter) dial(ctx context.Context) (net.Conn, error) {
	c.dials.Add(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()

	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := listener.Accept()
	if err != nil {
		return nil, errors.Join(err, near.Close())
	}

	c.mu.Lock()
	c.ends = []net.Conn{near, far}
	c.mu.Unlock()
	c.serve.Go(func() {
		if s, err := c.host.receive(context.WithoutCancel(ctx), far, SessionOptions{}); err == nil && s != nil {
			s.KeepFor(time.Minute)
			c.made <- s
		}
	})
	return near, nil
}

// cut breaks the connection in use, at one of its ends.
func (c *cutter) cut(end int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if tcp, ok := c.ends[end].(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

// connect makes the two ends of a session that can be cut.
func (c *cutter) connect(t testing.TB, forClient SessionOptions) (client, server *Session) {
	t.Helper()
	return c.connectBy(t, forClient, c.dial)
}

// connectBy is connect with another Redial.
func (c *cutter) connectBy(t testing.TB, forClient SessionOptions, redial func(context.Context) (net.Conn, error)) (client, server *Session) {
	t.Helper()
	conn, err := c.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	forClient.Redial = redial
	client, err = Client(t.Context(), conn, c.host.user, c.host.hash, forClient)
	if err != nil {
		t.Fatal(err)
	}
	server = <-c.made
	t.Cleanup(func() { _, _ = client.Close(), server.Close(); c.serve.Wait() })
	return client, server
}

// TestSessionSurvivesCuts sends random bytes both ways on many connections while the connection
// below is cut again and again: all of them arrive, and nothing else.
func TestSessionSurvivesCuts(t *testing.T) {
	var lost, back atomic.Int64
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{
		Lost: func(error) { lost.Add(1) },
		Back: func(time.Duration) { back.Add(1) },
	})

	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 20 {
		near, far := newStreams(t, client, server)
		all.Go(func() { exchangeRandom(t, near, far, uint64(i), 4<<20) })
	}
	go func() { all.Wait(); close(done) }()

	dice := rand.New(rand.NewPCG(1, 2))
	cuts := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Duration(dice.IntN(30)) * time.Millisecond): // a random moment
			c.cut(dice.IntN(2))
			cuts++
		}
	}

	waitUntilGone(t, client, server)
	if cuts == 0 || lost.Load() == 0 {
		t.Errorf("%d cuts, of which %d were noticed, want some", cuts, lost.Load())
	}
	t.Logf("%d cuts, %d noticed, %d times back", cuts, lost.Load(), back.Load())
}

// exchangeRandom sends random bytes between two ends of a connection, and wants the same to arrive.
func exchangeRandom(t *testing.T, near, far *Conn, seed uint64, size int) {
	var all sync.WaitGroup
	for i, pair := range [][2]*Conn{{near, far}, {far, near}} {
		sent, got := sha256.New(), sha256.New()
		all.Go(func() {
			source := rand.NewChaCha8([32]byte{byte(seed), byte(i)})
			if _, err := io.Copy(pair[0], io.TeeReader(io.LimitReader(source, int64(size)), sent)); err != nil {
				t.Error(err)
			}
			_ = pair[0].CloseWrite()
		})
		all.Go(func() {
			if n, err := io.Copy(got, struct{ io.Reader }{pair[1]}); err != nil || n != int64(size) {
				t.Errorf("%d bytes of %d, %v", n, size, err)
			}
		})
		defer func() {
			if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Error("what arrived is not what was sent")
			}
		}()
	}

	all.Wait()
	_, _ = near.Close(), far.Close()
}

// TestSessionGivenUp has the laptop come back after the manager has given the session up.
func TestSessionGivenUp(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	near, _ := newStreams(t, client, server)
	server.KeepFor(time.Nanosecond)
	c.cut(0)

	waitFor(t, "the manager to give up", server.Done())
	if !errors.Is(server.Err(), ErrGone) {
		t.Errorf("the manager's session ended with %v, want ErrGone", server.Err())
	}
	waitFor(t, "the laptop to learn of it", client.Done())
	if !errors.Is(client.Err(), errUnknownSession) {
		t.Errorf("the laptop's session ended with %v", client.Err())
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
		t.Errorf("read = %v, want ErrReset", err)
	}
}

// TestCloseEndsAtOnce has the laptop close a session: the manager does not wait for it to come back.
func TestCloseEndsAtOnce(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	_, far := newStreams(t, client, server)
	_ = client.Close()
	waitFor(t, "the manager's session to end", server.Done())
	if !errors.Is(server.Err(), ErrPeerEnded) {
		t.Errorf("the manager's session ended with %v, want ErrPeerEnded", server.Err())
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
		t.Errorf("read = %v, want ErrReset", err)
	}
}

// TestManagerHoldsConnectionForAlive has the laptop come back while its old connection looks well
// from the manager.
func TestManagerHoldsConnectionForAlive(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	near, far := newStreams(t, client, server)
	for range 20 {
		client.link.Detach() // the laptop's end goes silently
		client.handleLost(errors.New("the test cut it"))
		exchangePiece(t, near, far)
		exchangePiece(t, far, near)
	}
}

func exchangePiece(t *testing.T, from, to *Conn) {
	t.Helper()
	if _, err := from.Write([]byte("piece")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(to, got); err != nil || string(got) != "piece" {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestLateNewsOfALoss tells the manager of a broken connection after the laptop has come back: the
// session goes on, and nobody waits for its end.
func TestLateNewsOfALoss(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	near, far := newStreams(t, client, server)
	server.options.Lost = func(cause error) { t.Errorf("lost: %v", cause) }
	server.handleLost(errors.New("an older connection broke"))
	exchangePiece(t, near, far)
	server.options.Lost = func(error) {}
}

// hangingDial returns a Redial that says when it is called, and never gets through.
func hangingDial(called chan<- struct{}) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		called <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
}
