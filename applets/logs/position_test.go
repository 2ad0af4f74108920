package logs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/kube"
)

// numbered makes lines "line FIRST" to "line LAST", so far apart.
func numbered(from time.Time, first, last int, apart time.Duration) []stamped {
	var lines []stamped
	for n := first; n <= last; n++ {
		lines = append(lines, stamped{from.Add(time.Duration(n-first) * apart), fmt.Sprint("line ", n)})
	}
	return lines
}

// wantNumbers returns "line FIRST" to "line LAST".
func wantNumbers(first, last int) []string {
	var lines []string
	for n := first; n <= last; n++ {
		lines = append(lines, fmt.Sprint("line ", n))
	}
	return lines
}

func (r *reading) verifyLines(t *testing.T, first, last int) {
	t.Helper()
	if got, want := r.await(last-first+1), wantNumbers(first, last); !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d: got %q, want %q", len(got), len(want), got, want)
	}
}

func (r *reading) countNotes(text string) (count int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, note := range r.notes {
		if strings.Contains(note, text) {
			count++
		}
	}
	return count
}

// TestTailIsExact: a follower begins with the last lines that it was asked for, in order,
// whatever stands in the same second before them, and counts those and no other as old.
func TestTailIsExact(t *testing.T) {
	for _, tail := range []int{1, 2, 5, 64, 65, 200} {
		for _, rate := range []time.Duration{time.Millisecond, 200 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				k := newKubelet(uint64(tail))
				now := time.Unix(1_700_000_000, 900_000_000)
				k.log(numbered(now, 1, 300, rate)...)
				r := read(t, k, startPoint{tail: int64(tail)})
				k.log(numbered(now.Add(300*rate), 301, 500, rate)...)

				r.verifyLines(t, 301-tail, 500)
				if want := wantNumbers(301-tail, 300); !slices.Equal(r.old, want) {
					t.Errorf("--tail %d: old lines %q, want %q", tail, r.old, want)
				}
			})
		}
	}
}

// TestSinceMarksOldLines: what --since brings is old up to the last line of the start,
// even behind a line from the future.
func TestSinceMarksOldLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(1)
		now := time.Unix(1_700_000_000, 0)
		lines := numbered(now, 1, 20, time.Millisecond)
		lines[9].at = now.Add(time.Hour)
		k.log(lines...)
		r := read(t, k, startPoint{tail: -1})
		k.log(numbered(now.Add(time.Second), 21, 40, time.Millisecond)...)

		r.verifyLines(t, 1, 40)
		if want := wantNumbers(1, 20); !slices.Equal(r.old, want) {
			t.Errorf("old lines %q, want %q", r.old, want)
		}
	})
}

// TestClockSetBack: a node's clock goes back by an hour, at any moment: no line is hidden,
// and a note says so if a time to begin with had hidden it.
func TestClockSetBack(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(seed)
			now := time.Unix(1_700_000_000, 0)
			k.log(numbered(now, 1, 100, time.Millisecond)...)
			r := read(t, k, startPoint{})
			last := 100
			random := rand.New(rand.NewPCG(seed, 3))
			for range 5 {
				next := last + 1 + random.IntN(150)
				k.log(numbered(now, last+1, next, time.Millisecond)...)
				if last = next; random.IntN(2) == 0 {
					r.await(last - 100)
				}
				if now = now.Add(time.Second); random.IntN(2) == 0 {
					now = now.Add(-time.Hour)
				}
			}
			r.verifyLines(t, 101, last)
		})
	}
}

// TestLineFromFuture: one line with a time from the future hides none after a break.
func TestLineFromFuture(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(seed)
			now := time.Unix(1_700_000_000, 0)
			lines := numbered(now, 1, 300, 20*time.Millisecond)
			for _, at := range []int{50, 99, 100, 150, 200} {
				lines[at].at = lines[at].at.Add(time.Hour)
			}
			k.log(lines[:100]...)
			r := read(t, k, startPoint{})
			for at := 100; at < 300; at += 20 {
				k.log(lines[at : at+20]...)
				r.await(at - 99)
			}
			r.verifyLines(t, 101, 300)
		})
	}
}

// TestRotatedAway: lines that were rotated away are named, with about how much of the
// log they were; a file that is rotated without a loss is not.
func TestRotatedAway(t *testing.T) {
	for _, live := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(1)
			k.whole = true
			now := time.Unix(1_700_000_000, 0)
			r := read(t, k, startPoint{})
			k.log(numbered(now, 1, 100, 10*time.Millisecond)...)
			r.await(100)

			k.change(func() { k.first = 100 })
			k.log(numbered(now.Add(time.Second), 101, 200, 10*time.Millisecond)...)
			r.await(200)
			if got := r.countNotes("missing here"); got != 0 {
				t.Errorf("%d notes on missing lines after a rotation that lost none: %q", got, r.notes)
			}

			k.change(func() {
				// 12 seconds come and go while the stream stands still.
				lost := numbered(now.Add(2*time.Second), 201, 1400, 10*time.Millisecond)
				next := numbered(now.Add(14*time.Second), 201, 300, 10*time.Millisecond)
				k.instances[0] = append(append(k.instances[0], lost...), next...)
				k.first, k.jumps = 1400, true
				if !live {
					k.stalled = k.streams
				}
			})
			r.verifyLines(t, 1, 300)
			if got := r.countNotes("about 12 s of web/app are missing here (rotated away)"); got != 1 {
				t.Errorf("%d notes on missing lines, want 1: %q", got, r.notes)
			}
		})
	}
}

// TestSilenceIsNoLoss: a container that is silent for a while lost nothing, even if it is
// read late.
func TestSilenceIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(1)
		now := time.Unix(1_700_000_000, 0)
		k.log(numbered(now, 1, 100, 10*time.Millisecond)...)
		r := read(t, k, startPoint{tail: -1})
		for n := 101; n <= 400; n += 100 {
			now = now.Add(time.Hour)
			k.log(numbered(now, n, n+99, 10*time.Millisecond)...)
		}
		r.verifyLines(t, 1, 400)
		if len(r.notes) > 0 {
			t.Errorf("notes %q, want none", r.notes)
		}
	})
}

// TestSilentStream: a stream that is open and brings nothing while the container writes is
// opened again within 30 s.
func TestSilentStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(1)
		k.whole = true
		r := read(t, k, startPoint{})
		k.log(numbered(time.Unix(1_700_000_000, 0), 1, 10, time.Millisecond)...)
		r.await(10)
		time.Sleep(time.Minute)
		before, streams := time.Now(), k.streams

		k.change(func() { k.stalled = k.streams })
		k.log(numbered(time.Unix(1_700_000_060, 0), 11, 12, time.Millisecond)...)
		r.verifyLines(t, 1, 12)
		if took := time.Since(before); took > 30*time.Second {
			t.Errorf("the lines came after %s, want 30 s at most", took)
		}
		if got := r.countNotes("opened again"); got != 1 {
			t.Errorf("%d notes on the silent stream, want 1", got)
		}
		if streams > 12 {
			t.Errorf("%d streams in a minute of silence, want few", streams)
		}
	})
}

// TestEqualLines: lines with the same time and the same text come as often as they were
// logged.
func TestEqualLines(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(seed)
			now := time.Unix(1_700_000_000, 0)
			r := read(t, k, startPoint{})
			for n := range 60 {
				line := stamped{now.Add(time.Duration(n/20) * time.Millisecond), "tick"}
				k.log(line, line)
				r.await(2*n + 2)
			}
			k.stop()
			r.stop()
			if got := len(r.await(120)); got != 120 {
				t.Errorf("seed %d: %d lines, want 120", seed, got)
			}
		})
	}
}

// TestReadOnceIsComplete: a log that is read once and ends in good order before its last
// line is a failure.
func TestReadOnceIsComplete(t *testing.T) {
	failed := 0
	for seed := range uint64(40) {
		k := newKubelet(seed)
		k.log(numbered(time.Unix(1_700_000_000, 0), 1, 40, time.Millisecond)...)
		lines := 0
		f := &follower{
			cluster: k, slots: newStreamSlots(1, nil), oneRead: &kube.LogRequest{}, started: time.Now(),
			deliver: func(*podLine) { lines++ }, note: func(string, ...any) {},
		}
		var failure error
		f.fail = func(err error) { failure = err }
		(&logSource{f: f, pod: "web", container: "app"}).readOnce(t.Context())
		if (lines == 40) != (failure == nil) {
			t.Errorf("seed %d: %d lines and error %v, want an error unless all 40 came", seed, lines, failure)
		}
		if failure != nil {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no stream broke")
	}
}
