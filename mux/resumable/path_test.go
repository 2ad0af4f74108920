package resumable

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// warmUp is how long the window may take to find the path.
const warmUp = 2 * time.Second

// trafficResult is what came of a while of traffic.
type trafficResult struct {
	rate float64         // bytes of bulk data a second, without the time of warmUp
	late []time.Duration // how much longer than the delay of the link each small message took, sorted, without warmUp
	full int64           // window at the end
}

func (r *trafficResult) percentile(p float64) time.Duration {
	return r.late[int(float64(len(r.late)-1)*p)]
}

// A record of the tests has its kind, its time of sending and its length before its bytes.
const recordHeader = 1 + 8 + 4

// runTraffic sends bulk data from a number of writers, and small messages with a pause after each,
// from a to b for a time. It must run in a bubble of synctest.
func runTraffic(t *testing.T, link *simulatedLink, o Options, writers int, pause func(), during time.Duration) *trafficResult {
	t.Helper()
	var isOver atomic.Bool
	o.OnLost = func(err error) {
		if !isOver.Load() {
			t.Error(err)
		}
	}
	a, b := newPair(t, o)
	connA, connB := link.dial()
	connect(t, a, b, connA, connB)

	stop := make(chan struct{})
	var sending sync.WaitGroup
	for range writers {
		sending.Go(func() { sendRecords(a, 32<<10, true, stop, nil) })
	}
	sending.Go(func() { sendRecords(a, 100, false, stop, pause) })
	go discard(a)

	result := &trafficResult{}
	received := make(chan struct{})
	go func() {
		defer close(received)
		receiveRecords(b, link.delay, result)
	}()

	time.Sleep(during)
	result.full = windowOf(a)
	close(stop)
	sending.Wait()
	isOver.Store(true)
	_ = a.Close()
	_ = b.Close()
	<-received
	result.rate /= (during - warmUp).Seconds()
	slices.Sort(result.late)
	t.Logf("%.1f MB/s, window %d KiB, late p50 %v p99 %v max %v", result.rate/1e6, result.full>>10,
		result.percentile(.5), result.percentile(.99), result.percentile(1))

	return result
}

func windowOf(s *Stream) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link.path.window
}

func discard(s *Stream) {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := s.Read(buffer); err != nil {
			return
		}
	}
}

// sendRecords sends records of one size until stop closes.
func sendRecords(s *Stream, size int, bulk bool, stop <-chan struct{}, pause func()) {
	record := make([]byte, recordHeader+size)
	flow := &Flow{}
	for {
		if pause != nil {
			pause()
		}

		sent := time.Now().UnixNano()
		if s.WaitToSend(size, flow, stop) != nil {
			return
		}

		record[0] = 0
		if bulk {
			record[0] = 1
		}
		binary.BigEndian.PutUint64(record[1:], uint64(sent))
		binary.BigEndian.PutUint32(record[9:], uint32(size))
		if _, err := s.Write(record); err != nil {
			return
		}
		s.Flush()
	}
}

func receiveRecords(s *Stream, delay time.Duration, result *trafficResult) {
	began := time.Now()
	record := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(s, record[:recordHeader]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(record[9:])
		late := time.Now().UnixNano() - int64(binary.BigEndian.Uint64(record[1:])) - int64(delay)
		if _, err := io.ReadFull(s, record[recordHeader:recordHeader+size]); err != nil {
			return
		}

		switch {
		case time.Since(began) < warmUp:
		case record[0] == 0:
			result.late = append(result.late, time.Duration(late))
		default:
			result.rate += float64(size)
		}
	}
}

const megabit = 1e6 / 8

// TestPath holds what the congestion window promises, in the time of a simulated link with a deep
// buffer: a part of its rate, and how long small messages wait beside bulk data.
func TestPath(t *testing.T) {
	for _, test := range []struct {
		name     string
		link     simulatedLink
		writers  int
		leastUse float64 // part of the link's rate
		mostLate time.Duration
	}{
		{"100 ms, 100 Mbit/s", simulatedLink{rate: 100 * megabit, delay: 50 * time.Millisecond}, 1, .9, 75 * time.Millisecond},
		{"20 ms, 50 Mbit/s", simulatedLink{rate: 50 * megabit, delay: 10 * time.Millisecond}, 4, .9, 50 * time.Millisecond},
		{"1 ms, 50 Mbit/s", simulatedLink{rate: 50 * megabit, delay: time.Millisecond / 2}, 4, .9, 50 * time.Millisecond},
		{"100 ms, 50 Mbit/s", simulatedLink{rate: 50 * megabit, delay: 50 * time.Millisecond}, 4, .9, 75 * time.Millisecond},
		{"30 ms, 5 Mbit/s", simulatedLink{rate: 5 * megabit, delay: 15 * time.Millisecond}, 2, .85, 140 * time.Millisecond},
		{"300 ms, 20 Mbit/s", simulatedLink{rate: 20 * megabit, delay: 150 * time.Millisecond}, 2, .85, 250 * time.Millisecond},
		{"50 ms, 1 Gbit/s", simulatedLink{rate: 1000 * megabit, delay: 25 * time.Millisecond}, 8, .85, 50 * time.Millisecond},
		{"0.2 ms, 1 Gbit/s", simulatedLink{rate: 1000 * megabit, delay: 100 * time.Microsecond}, 2, .9, 10 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.link.buffer = 16 << 20
				during := 40 * time.Second
				if test.link.rate > 200*megabit {
					during = 12 * time.Second // with one probe, too
				}
				pause := func() { time.Sleep(20*time.Millisecond + rand.N(20*time.Millisecond)) }
				result := runTraffic(t, &test.link, Options{Buffer: 16 << 20}, test.writers, pause, during)
				if use := result.rate / test.link.rate; use < test.leastUse {
					t.Errorf("%.0f %% of the link was used, want %.0f", use*100, test.leastUse*100)
				}
				if late := result.percentile(.99); late > test.mostLate {
					t.Errorf("small messages waited %v at the 99th percentile, want %v at most", late, test.mostLate)
				}
			})
		})
	}
}

// TestQueueWhileNobodyWaits wants much under way while bulk data is alone, little as soon as small
// data comes, and much again after it.
func TestQueueWhileNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, Options{Buffer: 16 << 20})
		connA, connB := (&simulatedLink{rate: 1000 * megabit, delay: 100 * time.Microsecond, buffer: 16 << 20}).dial()
		connect(t, a, b, connA, connB)
		go discard(a)
		go discard(b)

		bulk, small := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { sendRecords(a, 32<<10, true, bulk, nil) })
		}
		wantWindow := func(when string, least, most int64) {
			t.Helper()
			if got := windowOf(a); got < least || got > most {
				t.Errorf("%s: a window of %d KiB, want %d to %d", when, got>>10, least>>10, most>>10)
			}
		}

		time.Sleep(2 * time.Second)
		wantWindow("alone", 3<<20, 8<<20)
		all.Go(func() { sendRecords(a, 100, false, small, func() { time.Sleep(20 * time.Millisecond) }) })
		time.Sleep(100 * time.Millisecond)
		wantWindow("beside small data", minWindow, minWindow)
		time.Sleep(5 * time.Second)
		wantWindow("still beside small data", minWindow, minWindow)
		close(small)
		time.Sleep(300 * time.Millisecond)
		wantWindow("alone again", 3<<20, 8<<20)

		close(bulk)
		all.Wait()
		_ = a.Close()
		_ = b.Close()
	})
}

// TestPathIsPolled sends a small message now and then beside bulk data: whether the path is shared may
// not change so often that nothing is found out about it.
func TestPathIsPolled(t *testing.T) {
	for _, every := range []time.Duration{100, 200, 250, 700} {
		synctest.Test(t, func(t *testing.T) {
			link := simulatedLink{rate: 100 * megabit, delay: 75 * time.Millisecond, buffer: 16 << 20}
			pause := func() { time.Sleep(every * time.Millisecond) }
			result := runTraffic(t, &link, Options{Buffer: 16 << 20}, 2, pause, 20*time.Second)
			if use := result.rate / link.rate; use < .85 {
				t.Errorf("polled every %d ms: %.0f %% of the link was used", every, use*100)
			}
		})
	}
}
