package kit

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// callInterval is the time from the beginning of one steady call to that of the next.
	callInterval = 100 * time.Millisecond
	// callPatience is how long a steady call waits for its answer.
	callPatience = time.Second
)

// steadyCall tells what came of one call.
type steadyCall struct {
	began, ended time.Time
	answer       string
	err          error
}

// SteadyCalls calls an address from the node, with a new connection every 100 ms, each of which waits
// for an answer for a second. Calls run side by side, so that one that waits delays no other.
type SteadyCalls struct {
	address string
	stop    func()

	mu    sync.Mutex
	calls []steadyCall // that have ended
}

// StartCalls begins to call an address, until CountAnswers or the end of the test.
func StartCalls(t *testing.T, address string) *SteadyCalls {
	t.Helper()
	c := &SteadyCalls{address: address}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.callUntil(ended)
	}()

	c.stop = sync.OnceFunc(func() { close(ended); <-done })
	t.Cleanup(c.stop)
	return c
}

// callUntil begins a call at each tick until ended is closed, and waits for the last.
func (c *SteadyCalls) callUntil(ended <-chan struct{}) {
	tick := time.NewTicker(callInterval)
	defer tick.Stop()

	var all sync.WaitGroup
	defer all.Wait()
	for {
		all.Go(c.callOnce)
		select {
		case <-ended:
			return
		case <-tick.C:
		}
	}
}

// callOnce makes one call and notes what came of it.
func (c *SteadyCalls) callOnce() {
	call := steadyCall{began: time.Now()}
	call.answer, call.err = fetchAnswerWithin(NodeNetwork, c.address, callPatience)
	call.ended = time.Now()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

// WaitForAnswer waits until a call that began after a moment is answered with a text, and returns the
// time from that moment to the first such answer.
func (c *SteadyCalls) WaitForAnswer(t *testing.T, since time.Time, text string) (took time.Duration) {
	t.Helper()
	return c.waitForCall(t, since, "an answer "+text, func(call steadyCall) bool {
		return call.err == nil && strings.Contains(call.answer, text)
	})
}

// WaitForLoss waits until a call that began after a moment gets no answer, and returns the time from
// that moment to the first such failure.
func (c *SteadyCalls) WaitForLoss(t *testing.T, since time.Time) (took time.Duration) {
	t.Helper()
	return c.waitForCall(t, since, "a call without an answer", func(call steadyCall) bool { return call.err != nil })
}

// waitForCall waits for the first call after a moment that is as wanted.
func (c *SteadyCalls) waitForCall(t *testing.T, since time.Time, what string, wanted func(steadyCall) bool) (took time.Duration) {
	t.Helper()
	WaitUntil(t, what+" from "+c.address, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, call := range c.calls {
			if call.began.After(since) && wanted(call) {
				took = call.ended.Sub(since).Round(time.Millisecond)
				return true
			}
		}
		return false
	})
	return took
}

// CallCounts tells who has answered the calls.
type CallCounts struct {
	Laptop, Application, Lost int
	FirstLoss                 error
	// Longest is the longest that a call took that was answered.
	Longest time.Duration
}

// String shows the counts, for a test's log.
func (c CallCounts) String() string {
	return fmt.Sprintf("%d calls, of which the laptop answered %d, the application %d, nobody %d; the slowest answer took %s",
		c.Laptop+c.Application+c.Lost, c.Laptop, c.Application, c.Lost, c.Longest.Round(time.Millisecond))
}

// CountAnswers ends the calls and counts who has answered them.
func (c *SteadyCalls) CountAnswers() (counts CallCounts) {
	c.stop()
	for _, call := range c.calls {
		switch {
		case call.err != nil:
			counts.Lost++
			if counts.FirstLoss == nil {
				counts.FirstLoss = call.err
			}
			continue
		case strings.Contains(call.answer, FromLaptop):
			counts.Laptop++
		default:
			counts.Application++
		}
		counts.Longest = max(counts.Longest, call.ended.Sub(call.began))
	}
	return counts
}

// VerifyLaptopAnswered ends the calls and fails the test unless the laptop has answered each.
func (c *SteadyCalls) VerifyLaptopAnswered(t *testing.T, when string) {
	t.Helper()
	counts := c.CountAnswers()
	t.Logf("%s: %s", when, counts)
	if counts.Lost > 0 || counts.Application > 0 {
		t.Errorf("%s: %s, want all answered by the laptop; first loss: %v", when, counts, counts.FirstLoss)
	}
}
