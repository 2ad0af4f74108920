package netfilter

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestTogether checks that one of many calls gets a port when all of them
// attach it at once, and that two managers never both get it.
func TestTogether(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, _ namespace) {
		one, two := b.open(t, testConfig("one")), b.open(t, testConfig("two"))
		if got := countAttached(t, pod, incoming(1), one, one, one, one); got != 1 {
			t.Errorf("%d of 4 attached one port with one manager, want 1", got)
		}

		for port := range uint16(5) {
			if got := countAttached(t, pod, incoming(100+port), one, two); got > 1 {
				t.Errorf("%d of 2 managers attached port %d, want 1 at most", got, 100+port)
			}
		}
	})
}

// countAttached attaches with all back ends at once and counts those that succeed.
func countAttached(t *testing.T, pod namespace, r Redirect, backends ...Backend) int32 {
	t.Helper()
	var count atomic.Int32
	var all sync.WaitGroup
	for _, b := range backends {
		all.Go(func() {
			if pod.Do(func() error { return b.Attach(r) }) == nil {
				count.Add(1)
			}
		})
	}

	all.Wait()
	return count.Load()
}
