package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestDeniedUserHearsOfCopies wants the hint at "shell --copy" where the user may add no container to a
// pod: of shell alone, and not where admission refuses the container, which rights would not help.
func TestDeniedUserHearsOfCopies(t *testing.T) {
	becomeNewUser(t)
	for _, c := range []struct {
		command string
		denied  bool
		want    bool
	}{
		{"shell", true, true},
		{"ps", true, false},
		{"env", true, false},
		{"shell", false, false},
	} {
		api := newFakeAPI(t, "")
		api.denied = c.denied
		api.failureCode = func(r *http.Request) int {
			if strings.HasSuffix(r.URL.Path, "/ephemeralcontainers") {
				return http.StatusForbidden
			}
			return 0
		}

		code, _, stderr := api.runKdiag(c.command, "web", "-c", "app", "-n", "ns")
		const hint = "if you may create pods, enter a copy of the pod in which the container waits: kubectl kdiag shell -n ns web -c app --copy"
		if code != 1 || strings.Contains(stderr, hint) != c.want || strings.Contains(stderr, "--copy") != c.want {
			t.Errorf("%s, denied %t: code %d, stderr %q, want the hint: %t", c.command, c.denied, code, stderr, c.want)
		}
	}
}
