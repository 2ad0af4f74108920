package mux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memChain proxies a caller's connection through a stream in memory to a program's.
type memChain struct {
	caller, program *net.TCPConn
	inPod, onLaptop *memStream
	done            sync.WaitGroup
	pod, laptop     ProxyResult
}

// newMemChain makes a chain whose proxies wait for patience when nobody makes progress.
func newMemChain(t testing.TB, x *Proxier) *memChain {
	t.Helper()
	c := &memChain{}
	var near, far *net.TCPConn
	c.caller, near = tcpPair(t)
	c.program, far = tcpPair(t)
	c.inPod, c.onLaptop = newMemStreams(256 << 10)
	c.done.Go(func() { c.pod = x.Proxy(NewTCP(near), c.inPod, nil) })
	c.done.Go(func() { c.laptop = x.Proxy(c.onLaptop, NewTCP(far), nil) })
	return c
}

// wait waits until both proxies are done.
func (c *memChain) wait(t testing.TB) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); c.done.Wait() }()
	waitFor(t, "the proxies", done)
}

// tooLarge is the whole answer of a server that does not want a request.
var tooLarge = []byte("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000))

// refuseUpload reads some of a request, answers it and closes with unread input, which makes the
// kernel send a reset (RFC 1122, 4.2.2.13).
func refuseUpload(conn *net.TCPConn) {
	_, _ = io.ReadFull(conn, make([]byte, 1000))
	_, _ = conn.Write(tooLarge)
	_ = conn.Close()
}

// upload sends a large body for as long as somebody takes it, and returns the answer.
func upload(conn *net.TCPConn) []byte {
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { _, _ = conn.Write(make([]byte, 8<<20)) })

	answer, _ := io.ReadAll(conn)              // the sending may take the error
	_ = conn.SetWriteDeadline(time.Unix(1, 0)) // ends the sending
	return answer
}

// TestAnswerBeforeReset compares how many answers of a server that refuses an upload arrive over
// plain TCP and through the proxies, where none of them may end well.
func TestAnswerBeforeReset(t *testing.T) {
	tries := 1000
	if testing.Short() {
		tries = 30
	}

	whole := func(answer []byte) int {
		if bytes.Equal(answer, tooLarge) {
			return 1
		}
		return 0
	}

	var plain, proxied int
	var x Proxier
	for range tries {
		client, server := tcpPair(t)
		go refuseUpload(server)
		plain += whole(upload(client))
		_ = client.Close()

		c := newMemChain(t, &x)
		go refuseUpload(c.program)
		proxied += whole(upload(c.caller))
		_ = c.caller.Close()
		c.wait(t)
		if c.pod.Err == nil || c.laptop.Err == nil {
			t.Fatalf("results %+v and %+v, want no good end", c.pod, c.laptop)
		}
	}

	t.Logf("of %d answers %d came over plain TCP, %d through the proxies", tries, plain, proxied)
	if proxied < plain {
		t.Errorf("%d of %d answers came through the proxies, want %d as over plain TCP", proxied, tries, plain)
	}
}

// reset closes a connection with a reset.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// TestDeathAfterHalfClose resets a caller that had ended its data, while the program has nothing
// to say. The program must learn of it.
func TestDeathAfterHalfClose(t *testing.T) {
	var x Proxier
	c := newMemChain(t, &x)
	_ = c.caller.CloseWrite()
	if n, err := c.program.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("the program reads %d bytes, %v, want the end", n, err)
	}

	reset(c.caller)
	c.wait(t)
	// The program's own end must not look good.
	for _, r := range []ProxyResult{c.pod, c.laptop} {
		if !errors.Is(r.Err, ErrReset) {
			t.Errorf("result %+v, want a reset", r)
		}
	}
	if err := awaitState(c.program, tcpClosed); err != nil {
		t.Errorf("the program's connection: %v", err)
	}
}

// awaitState waits until the kernel has a connection in a state.
func awaitState(conn *net.TCPConn, want uint8) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}

	deadline := time.Now().Add(patience)
	for {
		var info *unix.TCPInfo
		var failed error
		if err := raw.Control(func(fd uintptr) {
			info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		}); err != nil || failed != nil {
			return errors.Join(err, failed)
		}
		if info.State == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("state %d, want %d", info.State, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestEndAfterHalfClose has both sides end well although the first to do so is watched.
func TestEndAfterHalfClose(t *testing.T) {
	var x Proxier
	c := newMemChain(t, &x)
	_ = c.caller.CloseWrite()
	if _, err := io.ReadAll(c.program); err != nil {
		t.Fatal(err)
	}

	_, _ = c.program.Write([]byte("late"))
	_ = c.program.CloseWrite()
	if got, err := io.ReadAll(c.caller); err != nil || string(got) != "late" {
		t.Errorf("read %q, %v, want the late answer and an end", got, err)
	}
	c.wait(t)
	if c.pod.Err != nil || c.laptop.Err != nil {
		t.Errorf("results %+v and %+v, want no error", c.pod, c.laptop)
	}
}

// TestResetDeliversWhatWasWritten resets an endpoint whose peer has not yet read, and cannot yet
// take, all that was written.
func TestResetDeliversWhatWasWritten(t *testing.T) {
	near, far := tcpPair(t)
	_ = far.SetReadBuffer(64 << 10)
	_ = near.SetWriteBuffer(1 << 20)
	endpoint := NewTCP(near)

	want := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	if _, err := endpoint.Write(want); err != nil {
		t.Fatal(err)
	}
	endpoint.Reset()
	if n, err := endpoint.Write([]byte("x")); n != 0 || !errors.Is(err, errAborted) {
		t.Errorf("Write after Reset = %d, %v, want that it was aborted", n, err)
	}

	got, err := io.ReadAll(far)
	if !bytes.Equal(got, want) || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d of %d bytes, %v, want all of them and a reset", len(got), len(want), err)
	}
	_ = endpoint.Close()
}

// TestResetOfPausedPeer gives up on a peer that takes nothing.
func TestResetOfPausedPeer(t *testing.T) {
	near, far := tcpPair(t)
	_ = far.SetReadBuffer(64 << 10)
	_ = near.SetWriteBuffer(1 << 20)
	endpoint := NewTCP(near)
	endpoint.patience = 50 * time.Millisecond
	if _, err := endpoint.Write(make([]byte, 512<<10)); err != nil {
		t.Fatal(err)
	}

	endpoint.Reset()
	_ = endpoint.Close()
	if _, err := io.Copy(io.Discard, far); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// TestFailedWriteHidesReset has a Write take the socket's only report of a reset: what Read then
// finds is no end.
func TestFailedWriteHidesReset(t *testing.T) {
	for range 200 {
		near, far := tcpPair(t)
		endpoint := NewTCP(near)
		_, _ = far.Write([]byte("last words"))
		reset(far)

		var writing sync.WaitGroup
		writing.Go(func() {
			for range 1000 {
				if _, err := endpoint.Write([]byte("x")); err != nil {
					return
				}
			}
		})
		got, err := io.ReadAll(endpoint)
		if err == nil || string(got) != "last words" {
			t.Fatalf("read %q, %v, want all and a reset", got, err)
		}
		writing.Wait()
		endpoint.Reset()
	}
}

// TestEndBeforeReset keeps an end that came before the reset: over plain TCP it counts, too.
func TestEndBeforeReset(t *testing.T) {
	near, far := tcpPair(t)
	endpoint := NewTCP(near)
	_, _ = far.Write([]byte("all"))
	_ = far.Close()
	if err := awaitState(near, unix.BPF_TCP_CLOSE_WAIT); err != nil {
		t.Fatal(err)
	}

	for {
		_, err := endpoint.Write([]byte("x")) // answered by a reset
		if errors.Is(err, syscall.EPIPE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	if got, err := io.ReadAll(endpoint); err != nil || string(got) != "all" {
		t.Errorf("read %q, %v, want all and an end", got, err)
	}
	endpoint.Reset()
}

// TestFailedWriteLetsTheRestThrough has one side fail to take data while it still has much to
// say to a slow reader.
func TestFailedWriteLetsTheRestThrough(t *testing.T) {
	near, far := newMemStreams(1 << 10)
	caller, in := tcpPair(t)
	var x Proxier
	done := make(chan ProxyResult, 1)
	go func() { done <- x.Proxy(near, NewTCP(in), nil) }()

	want := bytes.Repeat([]byte("y"), 100<<10)
	_, _ = caller.Write(want)
	<-near.writeAhead // the stream is full
	reset(caller)
	_, _ = far.Write([]byte("into the void"))
	got, err := io.ReadAll(far)
	if !bytes.Equal(got, want) || !errors.Is(err, ErrReset) {
		t.Errorf("read %d of %d bytes, %v, want all and a reset", len(got), len(want), err)
	}
	if r := <-done; r.Err == nil || errors.Is(r.Err, errAborted) {
		t.Errorf("result %+v, want the reset for its error", r)
	}
}

// TestNoProgressAfterFailedWrite ends a connection of which one side is dead and the other does
// not read.
func TestNoProgressAfterFailedWrite(t *testing.T) {
	near, far := newMemStreams(1 << 10)
	caller, in := tcpPair(t)
	x := Proxier{patience: 50 * time.Millisecond}
	done := make(chan ProxyResult, 1)
	go func() { done <- x.Proxy(near, NewTCP(in), nil) }()

	_, _ = caller.Write(make([]byte, 100<<10))
	<-near.writeAhead
	reset(caller)
	_, _ = far.Write([]byte("into the void"))
	select {
	case r := <-done:
		if r.Err == nil {
			t.Errorf("result %+v, want an error", r)
		}
	case <-time.After(patience):
		t.Fatal("the proxy waits for somebody who does not read")
	}
}

// TestReadWaitsForFailingWrite has a Write under way that has taken the kernel's report of a reset,
// but has not returned yet.
func TestReadWaitsForFailingWrite(t *testing.T) {
	near, far := tcpPair(t)
	endpoint := NewTCP(near)
	reset(far)
	if err := awaitState(near, tcpClosed); err != nil {
		t.Fatal(err)
	}

	endpoint.writing.Lock()
	_ = endpoint.raw.Control(func(fd uintptr) {
		if report, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || report == 0 {
			t.Errorf("SO_ERROR = %d, %v, want the reset", report, err)
		}
	})

	read := make(chan error, 1)
	go func() {
		_, err := endpoint.Read(make([]byte, 1))
		read <- err
	}()
	runtime.Gosched()
	endpoint.failed.Store(true)
	endpoint.writing.Unlock()
	if err := <-read; !errors.Is(err, ErrReset) {
		t.Errorf("Read = %v, want a reset", err)
	}
	endpoint.Reset()
}

// TestStopWatch ends the watch for a reset that does not come.
func TestStopWatch(t *testing.T) {
	near, far := tcpPair(t)
	endpoint := NewTCP(near)
	_ = far.CloseWrite()
	if _, err := io.ReadAll(endpoint); err != nil {
		t.Fatal(err)
	}

	watched := make(chan error, 1)
	go func() { watched <- endpoint.WatchReset() }()
	endpoint.StopWatch()
	if err := <-watched; err != nil {
		t.Errorf("WatchReset = %v, want nil", err)
	}
	_ = endpoint.Close()
}

// TestEndsBehindPausedPeer ends a connection of which both directions have ended, although the
// last bytes and the end are still in the kernel.
func TestEndsBehindPausedPeer(t *testing.T) {
	stream, far := newMemStreams(4 << 20)
	caller, in := tcpPair(t)
	_ = errors.Join(caller.SetReadBuffer(64<<10), in.SetWriteBuffer(1<<20))
	_ = caller.CloseWrite()
	_, _ = far.Write(make([]byte, 512<<10))

	var x Proxier
	done := make(chan ProxyResult, 1)
	go func() { done <- x.Proxy(NewTCP(in), stream, nil) }()
	if _, err := io.ReadAll(far); err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()

	select {
	case r := <-done:
		if r.Err != nil {
			t.Errorf("result %+v, want a good end", r)
		}
	case <-time.After(patience):
		t.Fatal("the proxy waits for a peer that does not read")
	}
	if n, err := io.Copy(io.Discard, caller); n != 512<<10 || err != nil {
		t.Errorf("read %d bytes, %v, want all and the end", n, err)
	}
}
