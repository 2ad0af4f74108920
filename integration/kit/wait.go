package kit

import (
	"testing"
	"time"
)

const (
	// patience is the time in which a busy machine does anything that a test
	// waits for.
	patience = 3 * time.Minute
	// pollInterval is the time between two looks at what nothing tells a test of.
	pollInterval = 100 * time.Millisecond
)

// WaitUntil waits until a condition holds, for as long as the cluster may take on
// a busy machine, and fails the test if it never does.
func WaitUntil(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !WaitAtMost(patience, holds) {
		t.Fatalf("still waiting for %s", what)
	}
}

// WaitAtMost waits until a condition holds, and tells whether it did in time.
func WaitAtMost(limit time.Duration, holds func() bool) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()

	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		}
	}

	return true
}
