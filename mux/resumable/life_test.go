package resumable

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestSilenceIsALoss holds that a connection from which nothing comes is lost after Dead, once, and
// that heartbeats keep one that is idle.
func TestSilenceIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Int32
		a, b := newPair(t, Options{OnLost: func(err error) {
			if !strings.Contains(err.Error(), "nothing came from the peer for 10s") {
				t.Errorf("lost by %v", err)
			}
			lost.Add(1)
		}})
		go discard(a)
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)

		// b does not read, so that a's heartbeats are stuck; but b sends its own.
		time.Sleep(time.Hour)
		if lost.Load() != 0 || a.SilentFor() > 3*time.Second {
			t.Errorf("an idle connection was lost, or silent for %v", a.SilentFor())
		}

		a.Detach()
		b.Detach()
		mute, _ := net.Pipe()
		if err := a.Resume(mute, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Second - 1)
		if !a.Connected() {
			t.Error("lost too early")
		}
		time.Sleep(2 * time.Second)
		if a.Connected() || lost.Load() != 1 || a.SilentFor() < 11*time.Second {
			t.Errorf("connected %v, lost %d times, silent for %v", a.Connected(), lost.Load(), a.SilentFor())
		}
	})
}

// TestAStopIsNoSilence holds that the time in which a process was stopped does not count: however
// late a look comes, it counts as one.
func TestAStopIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Options{})
		defer a.Close()
		mute, _ := net.Pipe()
		if err := a.Resume(mute, 0); err != nil {
			t.Fatal(err)
		}
		go discard(a)

		a.mu.Lock()
		c := a.link
		c.watch.look.Stop()
		a.mu.Unlock()
		time.Sleep(10 * time.Minute)
		c.lookForSilence()
		if !a.Connected() {
			t.Error("the connection was lost by a stop")
		}
		time.Sleep(12 * time.Second)
		if a.Connected() {
			t.Error("the connection was not lost after the stop")
		}
	})
}

// TestCloseWakesEverybody holds that nobody waits on, whatever they wait for, that no goroutine
// stays, and that nothing spins (in a bubble, time goes on only when all wait).
func TestCloseWakesEverybody(t *testing.T) {
	cause := errors.New("the cause")
	for _, isConnected := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Buffer: minBuffer, OnLost: func(err error) { t.Errorf("OnLost: %v", err) }})
			if isConnected {
				conn, _ := net.Pipe() // nobody reads it
				if err := s.Resume(conn, 0); err != nil {
					t.Fatal(err)
				}
			}

			errs := make(chan error, 9)
			go func() { _, err := s.Read(make([]byte, 9)); errs <- err }()
			go func() { _, err := s.Write(make([]byte, 8<<20)); errs <- err }()
			time.Sleep(time.Second)
			go func() { errs <- s.WaitToSend(9, &Flow{}, nil) }()
			go func() { errs <- s.WaitToSend(9, newBulkFlow(), nil) }()
			waiting := 4
			time.Sleep(time.Second)
			if len(errs) != 0 {
				t.Errorf("somebody did not wait: %v", <-errs)
			}

			s.Fail(cause)
			s.Fail(errors.New("another"))
			for range waiting {
				if err := <-errs; !errors.Is(err, cause) {
					t.Errorf("error %v, want %v", err, cause)
				}
			}
			if err := s.Shutdown(context.Background()); !errors.Is(err, cause) {
				t.Errorf("Shutdown = %v", err)
			}
			time.Sleep(time.Hour)
		})
	}
}

// TestShutdown holds when it waits, and that what one side ends, the other may go on with.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{})
		if err := a.Shutdown(t.Context()); !errors.Is(err, ErrNoConnection) {
			t.Errorf("Shutdown without a connection = %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, ErrShutdown) {
			t.Errorf("Write after Shutdown = %v", err)
		}

		// Nobody reads at b.
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}

		// b has read the end, and goes on to write; nobody calls its Read any more.
		go discard(a)
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("Read = %v", err)
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		connA, connB = net.Pipe()
		connect(t, a, b, connA, connB)
		_, _ = b.Write(make([]byte, 1<<20))
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
}

// TestDetachIsNoLoss holds that OnLost is for connections that break by themselves.
func TestDetachIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{OnLost: func(err error) { t.Errorf("OnLost: %v", err) }})
		for range 3 {
			connA, connB := net.Pipe()
			connect(t, a, b, connA, connB) // replaces the last one
			go discard(a)
		}
		a.Detach()
		_ = a.Close()
		b.Detach()
		synctest.Wait()
	})
}

// chunksOf returns how many chunks s keeps, and for how many it has slots.
func chunksOf(s *Stream) (count, room int) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return len(s.kept.chunks), cap(s.kept.chunks)
}

// TestBurstIsFreed holds that nothing is kept when all is acknowledged, and one chunk for a little.
func TestBurstIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{Buffer: 16 << 20})
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)
		go discard(a)

		_, _ = a.Write(make([]byte, 8<<20))
		a.Flush()
		_, _ = io.ReadFull(b, make([]byte, 8<<20))
		time.Sleep(time.Second)
		if n, room := chunksOf(a); n != 0 || room > maxSpareSlots {
			t.Errorf("%d chunks are kept, with room for %d", n, room)
		}

		for range 1000 {
			_, _ = a.Write([]byte("little"))
			a.Flush()
		}
		if n, _ := chunksOf(a); n != 1 {
			t.Errorf("%d chunks are kept for 6000 bytes", n)
		}
	})
}
