package kit

import (
	"testing"
	"time"
)

// WaitUntil waits for something that takes the cluster a while.
func WaitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
