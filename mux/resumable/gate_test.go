package resumable

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fillWindow takes all that the gate has for bulk data.
func fillWindow(s *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate.granted = s.bulkWindow()
	s.gate.grantedAt = s.now()
}

// TestBulkIsServedInTurn holds the order, that who stops waiting leaves, and that small data passes.
func TestBulkIsServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Buffer: 1 << 20})
		fillWindow(s)

		var order []int
		stop := make(chan struct{})
		for i := range 5 {
			ending := make(chan struct{})
			if i == 2 {
				ending = stop
			}
			go func() {
				err := s.WaitToSend(64<<10, newBulkFlow(), ending)
				if (i == 2) != errors.Is(err, ErrStopped) {
					t.Errorf("WaitToSend of %d = %v", i, err)
				}
				if err == nil {
					order = append(order, i)
				}
			}()
			synctest.Wait()
		}
		if err := s.WaitToSend(64<<10, &Flow{}, nil); err != nil {
			t.Errorf("WaitToSend of small data = %v", err)
		}

		close(stop)
		synctest.Wait()
		for range 5 {
			s.GiveBack(64 << 10)
			synctest.Wait()
		}
		if !slices.Equal(order, []int{0, 1, 3, 4}) {
			t.Errorf("served in order %v", order)
		}
	})
}

// TestForgottenGrants holds that a caller that is granted bytes and does not write them stops nobody
// for long.
func TestForgottenGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{})
		connA, connB := net.Pipe()
		connect(t, a, b, connA, connB)
		go discard(a)
		go discard(b)
		fillWindow(a)
		began := time.Now()
		if err := a.WaitToSend(1, newBulkFlow(), nil); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("WaitToSend = %v after %v", err, time.Since(began))
		}
	})
}

// TestAnythingPassesAnEmptyGate holds that what is larger than all windows is not stuck for ever.
func TestAnythingPassesAnEmptyGate(t *testing.T) {
	s := New(Options{})
	for _, flow := range []*Flow{newBulkFlow(), {}} {
		if err := s.WaitToSend(1<<30, flow, nil); err != nil {
			t.Errorf("WaitToSend = %v", err)
		}
		s.GiveBack(1 << 30)
	}
	stopped := make(chan struct{})
	close(stopped)
	if err := s.WaitToSend(1, newBulkFlow(), stopped); !errors.Is(err, ErrStopped) {
		t.Errorf("WaitToSend when stopped = %v", err)
	}
	_ = s.Close()
	if err := s.WaitToSend(1, newBulkFlow(), nil); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("WaitToSend when closed = %v", err)
	}
	if _, err := io.WriteString(s, "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("Write when closed = %v", err)
	}
}
