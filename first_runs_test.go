package main

import (
	"sync"
	"testing"
)

// TestFirstRunsAtOnce wants four kdiags of a new user, started together, to share one container.
func TestFirstRunsAtOnce(t *testing.T) {
	for range 5 {
		becomeNewUser(t)
		api := newFakeAPI(t, "")

		var runs sync.WaitGroup
		for range 4 {
			runs.Go(func() {
				if code, _, stderr := api.runKdiag("shell", "web", "-q", "-n", "ns", "--", "-c", "true"); code != 0 {
					t.Errorf("shell: code %d, stderr %q", code, stderr)
				}
			})
		}
		runs.Wait()

		if n := len(api.pod.Spec.EphemeralContainers); n != 1 {
			t.Errorf("four first runs made %d containers, want 1", n)
		}
	}
}
