package mux

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestShrinkWhenQuiet leaves the buffers of a busy stream alone, and frees those of a quiet one.
func TestShrinkWhenQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender, near := newMemStreams(64 << 10)
		far, receiver := newMemStreams(64 << 10)
		var x Proxier
		done := make(chan ProxyResult, 1)
		go func() { done <- x.Proxy(near, far, nil) }()
		go func() { _, _ = io.Copy(io.Discard, receiver); _ = receiver.CloseWrite() }()

		for range 50 {
			_, _ = sender.Write([]byte("piece"))
			time.Sleep(quietTime / 10)
		}
		synctest.Wait()
		if n := near.shrunk(); n != 0 {
			t.Errorf("a busy stream was shrunk %d times", n)
		}

		time.Sleep(3 * quietTime)
		synctest.Wait()
		if n, left := near.shrunk(), x.quiet.count(); n != 1 || left != 0 {
			t.Errorf("a quiet stream was shrunk %d times, %d are still looked at, want once and none", n, left)
		}

		_, _ = sender.Write([]byte("again"))
		_ = sender.CloseWrite()
		if r := <-done; r.Err != nil {
			t.Errorf("result %+v, want a good end", r)
		}
		time.Sleep(3 * quietTime)
		synctest.Wait()
		if left := x.quiet.count(); left != 0 {
			t.Errorf("%d streams that have ended are looked at", left)
		}
	})
}

// TestPausedReadersLeaveBuffers has many connections whose reader takes nothing. They must leave
// large buffers to the others.
func TestPausedReadersLeaveBuffers(t *testing.T) {
	const paused = 200
	var x Proxier
	var senders, proxies sync.WaitGroup
	t.Cleanup(proxies.Wait) // after the cleanups below, which run before it
	stuck := make(chan struct{}, paused)
	for range paused {
		caller, in := tcpPair(t)
		program, out := tcpPair(t)
		for _, conn := range []*net.TCPConn{caller, in, program, out} {
			_ = errors.Join(conn.SetReadBuffer(64<<10), conn.SetWriteBuffer(64<<10))
		}
		proxies.Go(func() { x.Proxy(NewTCP(in), NewTCP(out), nil) })
		senders.Go(func() {
			piece := make([]byte, 64<<10)
			for {
				_ = caller.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				if _, err := caller.Write(piece); err != nil {
					stuck <- struct{}{}
					return
				}
			}
		})
		t.Cleanup(func() { reset(caller); reset(program) })
	}
	for range paused {
		<-stuck
	}
	senders.Wait()

	held, next := x.held.Load(), x.takeBuffer()
	if held > DefaultCopyMemory/2 || len(*next.bytes) != copySizes[0] {
		t.Errorf("paused connections hold %d bytes, and the next one gets %d, want %d at most and %d",
			held, len(*next.bytes), DefaultCopyMemory/2, copySizes[0])
	}
	x.returnBuffer(next)
}

// count returns how many directions are looked at.
func (l *quietList) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.busy)
}
