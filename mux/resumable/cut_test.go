package resumable

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCutAfterEveryByte cuts the connection of a short exchange after each of its bytes, counted at
// either end, and goes on over another one.
func TestCutAfterEveryByte(t *testing.T) {
	for _, end := range []string{"a", "b"} {
		for after := int64(0); ; after++ {
			wasCut := false
			synctest.Test(t, func(t *testing.T) { wasCut = exchangeWithCut(t, end, after) })
			if t.Failed() {
				t.Fatalf("cut at %s after %d bytes", end, after)
			}
			if !wasCut {
				t.Logf("cut at %s after 0 to %d bytes", end, after-1)
				break // the exchange is shorter
			}
			if after > 1000 {
				t.Fatal("the exchange has no end")
			}
		}
	}
}

// exchangeWithCut exchanges a request and an answer, and ends both directions. It returns whether
// the connection was cut.
func exchangeWithCut(t *testing.T, end string, after int64) (wasCut bool) {
	lost := make(chan struct{}, 4)
	a, b := newPair(t, Options{OnLost: func(error) { lost <- struct{}{} }})

	pipeA, pipeB := net.Pipe()
	connA, connB := &cuttingConn{Conn: pipeA}, &cuttingConn{Conn: pipeB}
	connA.left.Store(math.MaxInt64)
	connB.left.Store(math.MaxInt64)
	if end == "a" {
		connA.left.Store(after)
	} else {
		connB.left.Store(after)
	}
	connect(t, a, b, connA, connB)

	done := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { converse(t, a, "request of a", "and b's answer", true) })
	both.Go(func() { converse(t, b, "and b's answer", "request of a", false) })
	go func() {
		both.Wait()
		close(done)
	}()

	for {
		select {
		case <-lost:
			wasCut = true
			connA, connB := net.Pipe()
			connect(t, a, b, connA, connB)
		case <-done:
			return wasCut
		}
	}
}

// converse writes say and reads hear, in an order, and ends the stream.
func converse(t *testing.T, s *Stream, say, hear string, isFirst bool) {
	steps := []func(){
		func() {
			_, _ = io.WriteString(s, say[:5])
			s.Flush()
			time.Sleep(time.Millisecond)
			_, _ = io.WriteString(s, say[5:])
			s.Flush()
		},
		func() {
			got := make([]byte, len(hear))
			if _, err := io.ReadFull(s, got); err != nil || string(got) != hear {
				t.Errorf("read %q, %v, want %q", got, err, hear)
			}
		},
	}
	if isFirst {
		steps[0]()
		steps[1]()
	} else {
		steps[1]()
		steps[0]()
	}

	var reading sync.WaitGroup
	reading.Go(func() {
		if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read at the end = %d, %v, want EOF", n, err)
		}
	})
	shutDown(t, s)
	reading.Wait()
}

// shutDown shuts s down, over as many connections as it takes.
func shutDown(t *testing.T, s *Stream) {
	for {
		err := s.Shutdown(context.Background())
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNoConnection) {
			t.Errorf("Shutdown: %v", err)
			return
		}
		s.waitConnected()
	}
}

// waitConnected waits until there is a connection, or the stream is over.
func (s *Stream) waitConnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.link == nil && s.err == nil {
		s.changed.Wait()
	}
}

// TestResumeRefusesLies holds that no position is taken that cannot be.
func TestResumeRefusesLies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{})
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)

		_, _ = io.WriteString(a, "0123456789")
		a.Flush()
		_, _ = io.ReadFull(b, make([]byte, 10))
		go discard(a)
		time.Sleep(time.Second) // the acknowledgement comes
		_, _ = io.WriteString(a, "not flushed")
		a.Detach()

		for _, position := range []uint64{0, 9, 11, 21, 22, math.MaxUint64} {
			conn, peer := net.Pipe()
			if err := a.Resume(conn, position); err == nil {
				t.Errorf("Resume took position %d", position)
			}
			if _, err := peer.Read(make([]byte, 1)); err == nil {
				t.Errorf("Resume left the connection open")
			}
		}

		b.Detach()
		if err := a.Resume(connOf(net.Pipe()), b.Received()); err != nil {
			t.Errorf("Resume: %v", err)
		}
	})
}

func connOf(conn, _ net.Conn) net.Conn { return conn }

// TestResumeRefusesAnOldReceived finds a session that told the peer a position, and went on reading.
func TestResumeRefusesAnOldReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{})
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)
		_ = b.Received()
		_, _ = io.WriteString(a, "x")
		a.Flush()
		_, _ = b.Read(make([]byte, 1))

		err := b.Resume(connOf(net.Pipe()), 0)
		if err == nil || !strings.Contains(err.Error(), "after the peer was told") {
			t.Errorf("Resume = %v", err)
		}
	})
}
