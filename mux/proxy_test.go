package mux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
)

// chain proxies a caller's connection over a session to an application, as a redirect does, but
// without the kernel's part.
type chain struct {
	caller, application *net.TCPConn
	results             chan ProxyResult // of both proxies
	proxier             Proxier
}

func newChain(t testing.TB, client, server *Session) *chain {
	t.Helper()
	c := &chain{results: make(chan ProxyResult, 2)}
	var inPod, onLaptop *net.TCPConn
	c.caller, inPod = tcpPair(t)
	c.application, onLaptop = tcpPair(t)
	near, far := newStreams(t, client, server)
	go func() { c.results <- c.proxier.Proxy(NewTCP(inPod), far, nil) }()
	go func() { c.results <- c.proxier.Proxy(near, NewTCP(onLaptop), nil) }()
	return c
}

func TestProxyHalfClose(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	upload, reply := bytes.Repeat([]byte("x"), 8<<20), bytes.Repeat([]byte("y"), 1<<20)
	for _, reverse := range []bool{false, true} {
		c := newChain(t, client, server)
		from, to := c.caller, c.application
		if reverse {
			from, to = to, from
		}

		go func() {
			got, err := io.ReadAll(to)
			if err != nil || len(got) != len(upload) {
				t.Errorf("upload: %d bytes, %v", len(got), err)
			}
			_, _ = to.Write(reply)
			_ = to.CloseWrite()
		}()

		if _, err := from.Write(upload); err != nil {
			t.Fatal(err)
		}

		_ = from.CloseWrite()
		if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, reply) {
			t.Errorf("reply: %d bytes, %v, want %d", len(got), err, len(reply))
		}

		for range 2 {
			r := <-c.results
			if r.Err != nil || r.Sent+r.Received != int64(len(upload)+len(reply)) {
				t.Errorf("result = %+v, want all bytes and no error", r)
			}
		}
	}
}

// TestProxyReset resets one side while bytes are in flight or at rest, and wants a TCP reset on
// the other.
func TestProxyReset(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for i := range 40 {
		c := newChain(t, client, server)
		from, to := c.caller, c.application
		if i%2 == 1 {
			from, to = to, from
		}
		if _, err := from.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if i%4 < 2 {
			_, _ = io.ReadFull(to, make([]byte, 1000))
		}

		_ = from.SetLinger(0)
		_ = from.Close()
		if _, err := io.ReadAll(to); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("round %d: read = %v, want a connection reset", i, err)
		}

		for range 2 {
			if r := <-c.results; r.Err == nil || errors.Is(r.Err, errAborted) {
				t.Errorf("round %d: result = %+v, want the reset for its error", i, r)
			}
		}
	}
}

// TestProxyMany echoes over many connections at once.
func TestProxyMany(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	want := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	var all sync.WaitGroup
	for range 200 {
		c := newChain(t, client, server)
		all.Go(func() {
			_, _ = io.Copy(struct{ io.Writer }{c.application}, c.application)
			_ = c.application.CloseWrite()
		})
		all.Go(func() {
			go func() { _, _ = c.caller.Write(want); _ = c.caller.CloseWrite() }()
			if got, err := io.ReadAll(c.caller); err != nil || !bytes.Equal(got, want) {
				t.Errorf("echo: %d bytes, %v", len(got), err)
			}
		})
	}

	all.Wait()
	waitUntilGone(t, client, server)
}

// TestProxyMoved wants every byte counted that is passed on.
func TestProxyMoved(t *testing.T) {
	caller, in := tcpPair(t)
	app, out := tcpPair(t)
	var mu sync.Mutex
	var sent, received int
	done := make(chan ProxyResult)
	go func() {
		done <- new(Proxier).Proxy(NewTCP(in), NewTCP(out), func(s, r int) {
			mu.Lock()
			defer mu.Unlock()
			sent, received = sent+s, received+r
		})
	}()

	_, _ = caller.Write([]byte("four"))
	_ = caller.CloseWrite()
	_, _ = io.ReadAll(app)
	_, _ = app.Write([]byte("sixsix"))
	_ = app.CloseWrite()
	_, _ = io.ReadAll(caller)
	if r := <-done; r != (ProxyResult{Sent: 4, Received: 6}) || sent != 4 || received != 6 {
		t.Errorf("result = %+v, moved %d and %d, want 4 and 6", r, sent, received)
	}
}

// TestCopyBuffers has many connections that are idle cost no buffers, and all that are held
// together stay within the limit.
func TestCopyBuffers(t *testing.T) {
	x := Proxier{Memory: 1 << 20}
	var held []copyBuffer
	for range 50 {
		held = append(held, x.takeBuffer())
	}

	first, last, sum := len(*held[0].bytes), len(*held[len(held)-1].bytes), 0
	for _, b := range held {
		sum += len(*b.bytes)
		x.returnBuffer(b)
	}

	if first != copySizes[0] || last != copySizes[len(copySizes)-1] || sum > 1<<20 {
		t.Errorf("buffers of %d to %d bytes, %d in all, want from the largest to the smallest within 1 MiB", first, last, sum)
	}
	if got := len(*x.takeBuffer().bytes); got != copySizes[0] {
		t.Errorf("buffer after all were returned = %d bytes, want %d", got, copySizes[0])
	}
}
