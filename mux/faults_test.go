package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faults cuts connections after some of the operations of one end.
type faults struct {
	writes bool  // counts Writes, not Reads
	at     []int // the operations after which it cuts

	count atomic.Int64
	kept  atomic.Bool // the manager keeps the session from now on
	early atomic.Bool // it did not yet when the first cut came
}

// faultyConn is one end of a connection that its faults cut. A Write that is cut has sent half.
type faultyConn struct {
	*net.TCPConn
	faults *faults
	cut    func()
}

func (f *faultyConn) Read(p []byte) (int, error) {
	n, err := f.TCPConn.Read(p)
	if n > 0 && !f.faults.writes && f.faults.next() {
		f.cut()
	}
	return n, err
}

func (f *faultyConn) Write(p []byte) (int, error) {
	if !f.faults.writes || !f.faults.next() {
		return f.TCPConn.Write(p)
	}
	n, _ := f.TCPConn.Write(p[:len(p)/2])
	f.cut()
	return n, net.ErrClosed
}

// next counts an operation and reports whether it is one after which the connection is cut.
func (f *faults) next() bool {
	isDue := slices.Contains(f.at, int(f.count.Add(1)))
	if isDue && !f.kept.Load() {
		f.early.Store(true)
	}
	return isDue
}

// reached reports whether the first of the faults came.
func (f *faults) reached() bool { return int(f.count.Load()) >= f.at[0] }

// A faultyLink makes connections between a laptop and a manager, one end of which has faults.
type faultyLink struct {
	*faults
	host      *testHost
	onManager bool
	made      chan *Session
	serve     sync.WaitGroup
}

func (l *faultyLink) dial(ctx context.Context) (net.Conn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, err
	}
	accepted, err := listener.Accept()
	if err != nil {
		return nil, errors.Join(err, dialled.Close())
	}

	near, far := dialled, accepted
	cut := func() { cutTCP(dialled); cutTCP(accepted) }
	if l.onManager {
		far = &faultyConn{accepted.(*net.TCPConn), l.faults, cut}
	} else {
		near = &faultyConn{dialled.(*net.TCPConn), l.faults, cut}
	}
	l.serve.Go(func() {
		if s, err := l.host.receive(context.WithoutCancel(ctx), far, SessionOptions{}); err == nil && s != nil {
			s.KeepFor(time.Minute)
			l.kept.Store(true)
			l.made <- s
		}
	})
	return near, nil
}

// cutTCP ends a connection as a network does that is gone.
func cutTCP(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// TestCutAtEveryPhase cuts the connection after each Read and Write of each end: during the knock,
// TLS, hello and answer, a request, connections with data, an end and a reset, and Close; and again
// during the handshakes that follow. The session comes back, or ends with one clear line.
func TestCutAtEveryPhase(t *testing.T) {
	host := newTestHost(t)
	distances := []int{0, 2}
	if soakSize(t) > 20000 {
		distances = []int{0, 1, 2, 3}
	}
	for _, onManager := range []bool{false, true} {
		for _, writes := range []bool{false, true} {
			for _, distance := range distances {
				name := fmt.Sprintf("manager=%v writes=%v distance=%d", onManager, writes, distance)
				t.Run(name, func(t *testing.T) {
					t.Parallel() // most of it waits to try again
					cuts := 0
					for k := 1; k < 500; k++ {
						at := []int{k}
						if distance > 0 {
							at = []int{k, k + distance, k + 2*distance, k + 3*distance}
						}
						l := &faultyLink{faults: &faults{writes: writes, at: at}, host: host, onManager: onManager, made: make(chan *Session, 10)}
						l.runSession(t)
						if t.Failed() {
							t.Fatalf("cut after %v", at)
						}
						if !l.reached() {
							break
						}
						cuts++
					}
					if cuts < 5 {
						t.Errorf("%d operations were cut after, want many", cuts)
					}
					t.Logf("%d operations", cuts)
				})
			}
		}
	}
}

// runSession runs a short session and wants it to go well, unless it ended before the manager kept
// it.
func (l *faultyLink) runSession(t *testing.T) {
	defer l.serve.Wait()
	defer func() {
		for len(l.made) > 0 {
			_ = (<-l.made).Close()
		}
	}()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := l.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client, err := Client(ctx, conn, l.host.user, l.host.hash, SessionOptions{Redial: l.dial})
	if err != nil {
		checkClearLine(t, err)
		return
	}

	done := make(chan error, 1)
	go func() { done <- l.useSession(ctx, client) }()
	select {
	case err = <-done:
	case <-time.After(patience):
		t.Error("the session hangs")
	}
	if isEarly := l.early.Load() && errors.Is(client.Err(), errUnknownSession); err != nil && !isEarly {
		t.Errorf("%v; the session ended with %v", err, client.Err())
	}
	if err := client.Err(); err != nil {
		checkClearLine(t, err)
	}

	closed := make(chan struct{})
	go func() { defer close(closed); _ = client.Close() }()
	waitFor(t, "Close", closed)
}

// checkClearLine wants an error to be one line in words.
func checkClearLine(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if strings.Contains(text, "EOF") || strings.Contains(text, "preface") || strings.Contains(text, "\n") {
		t.Errorf("unclear: %q", text)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it took too long: %q", text)
	}
}

// useSession makes a request and two connections, and closes the session.
func (l *faultyLink) useSession(ctx context.Context, client *Session) error {
	var server *Session
	select {
	case server = <-l.made:
	case <-client.Done():
		return client.Err()
	}
	defer server.Close()
	defer func() { l.made <- server }()

	var refused *RemoteError
	if err := client.Call(ctx, "x", nil, nil); !errors.As(err, &refused) {
		return fmt.Errorf("request: %w", err)
	}
	if err := exchangeAll(client, server, 20<<10); err != nil {
		return err
	}
	if err := resetOne(client, server); err != nil {
		return err
	}
	if err := exchangeAll(client, server, 300); err != nil {
		return err
	}
	return client.Close()
}

// openPair opens a connection and returns both ends.
func openPair(client, server *Session) (near, far *Conn, err error) {
	if far, err = server.Open(Header{}); err != nil {
		return nil, nil, err
	}
	near, err = client.Accept()
	return near, far, err
}

// exchangeAll sends bytes both ways to their ends.
func exchangeAll(client, server *Session, size int) error {
	near, far, err := openPair(client, server)
	if err != nil {
		return err
	}

	var all sync.WaitGroup
	failures := make([]error, 4)
	for i, pair := range [][2]*Conn{{near, far}, {far, near}} {
		want := patternOf(i, size)
		all.Go(func() {
			_, err := pair[0].Write(want)
			failures[2*i] = errors.Join(err, pair[0].CloseWrite())
		})
		all.Go(func() {
			got, err := io.ReadAll(pair[1])
			if err == nil && !bytes.Equal(got, want) {
				err = errors.New("other bytes")
			}
			failures[2*i+1] = err
		})
	}
	all.Wait()
	return errors.Join(append(failures, near.Close(), far.Close())...)
}

// resetOne sends bytes and resets.
func resetOne(client, server *Session) error {
	near, far, err := openPair(client, server)
	if err != nil {
		return err
	}
	want := patternOf(9, 1000)
	if _, err := far.Write(want); err != nil {
		return err
	}
	far.Reset()
	if got, err := io.ReadAll(near); !bytes.Equal(got, want) || !errors.Is(err, ErrReset) {
		return fmt.Errorf("%d bytes before a reset, %w", len(got), err)
	}
	return near.Close()
}
