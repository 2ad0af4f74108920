package mux

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// readFast has a window's reader take all that its peer may send, until the window grows no more,
// and returns how large it is then.
func readFast(w *receiveWindow, now time.Time) int64 {
	for range 100 {
		w.consume(int(w.outstanding()))
		w.grant(now, 50*time.Millisecond)
	}
	return w.outstanding()
}

// TestShares has many readers take bulk data, and then stop one after the other, each with all that
// it could get. The windows that are left to others fall slowly, and the budget holds.
func TestShares(t *testing.T) {
	now := time.Now()
	for stopped, want := range map[int]int64{0: 4 << 20, 1: 1 << 20, 4: 256 << 10, 10: 64 << 10, 32: 16 << 10, 100: 4 << 10, 1000: minWindow} {
		budget := NewBudget(10<<20, 0)
		for range stopped {
			w := newReceiveWindow(budget, int64(budget.initial()), 4<<20)
			readFast(&w, now)
		}

		w := newReceiveWindow(budget, int64(budget.initial()), 4<<20)
		if got := readFast(&w, now); got < want {
			t.Errorf("%d have stopped: a window of %d bytes is left, want %d", stopped, got, want)
		}
		if taken, most := budget.given(), int64(10<<20+(stopped+1)*minWindow); taken > most {
			t.Errorf("%d have stopped: %d bytes are given out, want %d at most", stopped, taken, most)
		}
	}
}

// TestFastReaders wants a reader that keeps up with much to get more than all others together, and
// less when readers are behind.
func TestFastReaders(t *testing.T) {
	now := time.Now()
	budget, bulk := newFastReader(t)
	budget.held.Store(slowPool)
	next := newWindow(budget)
	if got := readFast(next, now); got > 4<<20 || got < 1<<20 {
		t.Errorf("while readers are behind, the next has a window of %d bytes", got)
	}
	next.release()

	// One stops with all it could get, and cannot give it back.
	bulk.revoke() // notes that it was active
	if _, ok := bulk.revoke(); !ok || !bulk.revoked(uint64(bulk.granted)) || budget.all.outstanding.Load() != 0 {
		t.Error("what a reader that stopped holds was taken from all")
	}
	next = newWindow(budget)
	if got := readFast(next, now); got < 1<<20 {
		t.Errorf("beside it the next has a window of %d bytes", got)
	}
	next.release()

	// It reads again, and gives back what it does not use.
	bulk.consume(int(bulk.outstanding()) - 4<<10)
	bulk.revoke()
	if total, ok := bulk.revoke(); !ok || !bulk.revoked(total) || bulk.pool != &budget.all || budget.fast.outstanding.Load() != 0 {
		t.Error("a reader that gave its credit back still counts as fast")
	}
}

// TestManyThatTakeLittle has 1,000 readers take little each: they get nothing of what is there for
// fast ones.
func TestManyThatTakeLittle(t *testing.T) {
	budget, _ := newFastReader(t)
	for range 1000 {
		w := newWindow(budget)
		w.consume(int(w.outstanding() * 3 / 4))
		w.grant(time.Now().Add(time.Second), time.Millisecond)
	}
	if got := budget.all.outstanding.Load(); got > slowPool+1001*minWindow {
		t.Errorf("1,000 that take little have %d bytes", got)
	}
}

// slowPool is what there is for all in the budget of newFastReader.
const slowPool = 3 << 20

// newFastReader makes a manager's budget, and a window of it that is as large as it can be.
func newFastReader(t *testing.T) (*Budget, *receiveWindow) {
	t.Helper()
	budget := NewBudget(slowPool, 16<<20)
	bulk := newWindow(budget)
	if got := readFast(bulk, time.Now()); got < 8<<20 {
		t.Errorf("a fast reader has a window of %d bytes, want 8 MiB", got)
	}
	return budget, bulk
}

func newWindow(b *Budget) *receiveWindow {
	w := newReceiveWindow(b, int64(b.initial()), 8<<20)
	return &w
}

// TestInitialCredits opens many connections of which nobody reads: two fifths of the budget are
// left to others, beyond what each may always have.
func TestInitialCredits(t *testing.T) {
	for _, many := range []int{10, 100, 1000, 3000} {
		budget := NewBudget(10<<20, 0)
		for range many {
			newReceiveWindow(budget, int64(budget.initial()), 4<<20)
		}
		if taken, most := budget.given(), int64(6<<20+64<<10+many*minWindow); taken > most {
			t.Errorf("%d connections: %d bytes are given out, want %d at most", many, taken, most)
		}
	}
}

// TestGrantsTogether has many connections take from a budget at once: it holds.
func TestGrantsTogether(t *testing.T) {
	budget := NewBudget(10<<20, 0)
	var most atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			w := newReceiveWindow(budget, minWindow, 4<<20)
			defer w.release()
			for range 2000 {
				w.consume(int(w.outstanding()))
				w.grant(time.Time{}, time.Second)
				most.Store(max(most.Load(), budget.given()))
			}
		})
	}

	all.Wait()
	if most.Load() > 10<<20+50*minWindow || budget.given() != 0 {
		t.Errorf("%d bytes were given out, %d are left, want 10 MiB and 0", most.Load(), budget.given())
	}
}

// TestSmallReads has a reader take little at a time when there is no budget left: it need not tell
// its peer of each byte.
func TestSmallReads(t *testing.T) {
	budget := NewBudget(1<<20, 0)
	budget.all.outstanding.Store(1 << 20)
	w := newReceiveWindow(budget, minWindow, 4<<20)
	grants := 0
	for range 10 * minWindow {
		if w.outstanding() == 0 {
			t.Fatal("the reader waits for what nobody may send")
		}
		w.consume(1)
		if _, ok := w.grant(time.Now(), time.Millisecond); ok {
			grants++
		}
	}
	if grants > 30 {
		t.Errorf("%d grants for 10 windows, want two each", grants)
	}
}

// managerOptions are those of a manager.
func managerOptions() SessionOptions {
	return SessionOptions{Budget: NewBudget(10<<20, 0), Window: 4 << 20}
}

// TestSlowReaders has 1,000 callers that do not read, and 32 that stop in the middle of a bulk
// transfer. What the manager holds stays within its budget, one more bulk transfer goes on, and when
// they read again, all arrives.
func TestSlowReaders(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, managerOptions(), nil)
	alone := timeTransfer(t, client, server)

	var sending sync.WaitGroup
	slow := make([]*Conn, 0, 1032)
	for i := range cap(slow) {
		near, far := newStreams(t, client, server)
		slow = append(slow, far)
		size := 100 << 10
		if i >= 1000 {
			size = 3 << 20
		}
		sending.Go(func() {
			if _, err := near.Write(patternOf(i, size)); err != nil {
				t.Error(err)
			}
			_ = near.CloseWrite()
			if _, err := io.ReadAll(near); err != nil {
				t.Error(err)
			}
		})
	}

	const before = 500 << 10
	for i, far := range slow[1000:] {
		got := make([]byte, before)
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, patternOf(1000+i, before)) {
			t.Fatal("the beginning of a bulk transfer is wrong", err)
		}
	}

	beside := timeTransfer(t, client, server)
	most := int64(10<<20 + (len(slow)+1)*minWindow)
	if held, given := server.held.count, server.options.Budget.given(); held > most || given > most {
		t.Errorf("%d bytes are held and %d given out, want %d at most", held, given, most)
	}
	t.Logf("a transfer alone took %v, beside those that do not read %v; %d bytes held", alone, beside, server.held.count)
	if beside > 10*alone+time.Second {
		t.Errorf("a transfer took %v alone and %v beside those that do not read", alone, beside)
	}

	for i, far := range slow {
		want := patternOf(i, 100<<10)
		if i >= 1000 {
			want = patternOf(i, 3<<20)[before:]
		}
		if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("slow reader %d: %d bytes, %v, want %d", i, len(got), err, len(want))
		}
		_ = far.CloseWrite()
	}
	sending.Wait()
	waitUntilGone(t, client, server)
}

func patternOf(seed, size int) []byte {
	return bytes.Repeat([]byte{byte(seed), byte(seed >> 8), 1, 2, 3, 4, 5}, size/7+1)[:size]
}

// timeTransfer sends 32 MiB to the manager's side and returns how long that took.
func timeTransfer(t *testing.T, client, server *Session) time.Duration {
	t.Helper()
	near, far := newStreams(t, client, server)
	const size = 32 << 20
	began := time.Now()
	go func() {
		_, _ = io.Copy(near, io.LimitReader(zeroReader{}, size))
		_ = near.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, far); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	took := time.Since(began)

	_ = far.CloseWrite()
	_, _ = io.ReadAll(near)
	return took
}

// TestIdleGiveBack has connections that moved much data fall idle: they give their credit back, and
// go on as before.
func TestIdleGiveBack(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, managerOptions(), nil)
	var nears, fars []*Conn
	for range 8 {
		near, far := newStreams(t, client, server)
		nears, fars = append(nears, near), append(fars, far)
	}

	for round := range 3 {
		var all sync.WaitGroup
		for i := range nears {
			want := patternOf(round+i, 4<<20)
			all.Go(func() {
				if _, err := nears[i].Write(want); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(fars[i], got); err != nil || !bytes.Equal(got, want) {
					t.Error("what arrived is not what was sent", err)
				}
			})
		}
		all.Wait()

		server.revokeCredits() // notes that they were active
		server.revokeCredits()
		waitUntil(t, "the credit to come back", func() bool {
			return server.options.Budget.given() <= int64(len(fars))*minWindow
		})
	}
}
