package image

import (
	"net/http"
	"regexp"
	"sync"
	"testing"
)

// TestPushSaysWho has every request to a registry carry kdiag's user agent.
func TestPushSaysWho(t *testing.T) {
	noCredentials(t)
	var mu sync.Mutex
	agents := map[string]bool{}
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			agents[r.UserAgent()] = true
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	})
	if _, _, err := run("push", host+"/kdiag:v1", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t)); err != nil {
		t.Fatal(err)
	}

	mu.Lock()
	defer mu.Unlock()
	for agent := range agents {
		// The library adds its own name.
		if !regexp.MustCompile(`^kdiag/\S+ \(\w+/\w+\) image push go-containerregistry`).MatchString(agent) {
			t.Errorf("a request has User-Agent %q, want kdiag/VERSION (os/arch) image push", agent)
		}
	}

	if len(agents) == 0 {
		t.Error("no request was sent")
	}
}
