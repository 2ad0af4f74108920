package main

import (
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestEveryRequestSaysWho checks that every request of every command carries the user
// agent and the run's Audit-ID, which no other run has: plain requests, dry runs,
// watches, logs, and streams over WebSocket and SPDY.
func TestEveryRequestSaysWho(t *testing.T) {
	becomeNewUser(t)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	snapshot := func(a *fakeAPI) {
		a.stdout = `{"time":"2026-01-02T03:04:05Z","processes":[],"sockets":[],"hidden":{},"cut":[]}` + "\n"
	}
	started := func(a *fakeAPI) {
		a.log = `{"role":"net","protocol":2,"door":1234,"key":"` + strings.Repeat("a", 64) + `"}` + "\n"
	}
	waiting := func(a *fakeAPI) {
		a.started = corev1.ContainerState{}
		a.events = []corev1.Event{{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, Reason: "Failed"}}
	}

	noWebSocket := func(a *fakeAPI) {
		a.failureCode = func(r *http.Request) int {
			if r.Header.Get("Upgrade") == "websocket" {
				return http.StatusBadRequest
			}
			return 0
		}
	}

	everyReason := strings.Repeat("ä", 100)
	runs := map[string]bool{}
	for _, c := range []struct {
		args []string
		// agent is what follows the platform in the user agent.
		agent string
		// sent lists some of the requests, by method and the end of the path.
		sent  []string
		setup func(*fakeAPI)
	}{
		{[]string{"shell", "web", "--", "-c", "true"}, "shell", []string{"GET /pods/web", "PATCH /ephemeralcontainers", "GET /exec"}, nil},
		{[]string{"shell", "web"}, "shell", []string{"GET /events", "GET /events watch"}, waiting},
		{[]string{"shell", "web", "--", "-c", "true"}, "shell", []string{"GET /exec", "POST /exec"}, noWebSocket},
		{[]string{"shell", "deploy/web", "--reason=INC-123, \"why\"", "--", "-c", "true"}, `shell reason="INC-123, \"why\""`, []string{"GET /deployments/web", "GET /pods", "GET /exec"}, nil},
		{[]string{"shell", "web", "--reason", everyReason}, `shell reason="` + strings.Repeat(`\u00e4`, 100) + `"`, []string{"GET /exec"}, nil},
		{[]string{"manage", "web", "--reason=x"}, `manage reason="x"`, []string{"PATCH /ephemeralcontainers"}, nil},
		{[]string{"ps", "web", "--sockets", "--reason=x"}, `ps reason="x"`, []string{"GET /exec", "GET /pods", "GET /services"}, snapshot},
		{[]string{"redir", "web", "8080", "--reason=x"}, `redir reason="x"`, []string{"PATCH /ephemeralcontainers", "GET /log", "GET /portforward", "POST /portforward"}, started},
		{[]string{"logs", "web", "--for=1s"}, "logs", []string{"GET /pods/web", "GET /pods", "GET /pods watch", "GET /log"}, nil},
		{[]string{"doctor", "web"}, "doctor", []string{"GET /version", "POST /selfsubjectreviews", "POST /selfsubjectaccessreviews", "PATCH /ephemeralcontainers", "GET /portforward", "POST /portforward"}, nil},
		{[]string{"version", "web"}, "version", []string{"GET /version", "GET /pods/web"}, nil},
		{[]string{"__complete", "shell", ""}, "__complete", []string{"GET /pods"}, nil},
		{[]string{"__complete", "shell", "web", "-c", ""}, "__complete", []string{"GET /pods/web"}, nil},
	} {
		api := newFakeAPI(t, "")
		if c.setup != nil {
			c.setup(api)
		}

		if c.args[0] == "__complete" {
			c.args = slices.Insert(c.args, 2, api.connectionFlags()...)
			run(append([]string{"kdiag"}, c.args...), strings.NewReader(""), new(strings.Builder), new(strings.Builder))
		} else {
			api.runKdiag(c.args...)
		}

		api.mu.Lock()
		requests := slices.Clone(api.requests)
		api.mu.Unlock()

		agent := "kdiag/" + buildVersion + " (" + runtime.GOOS + "/" + runtime.GOARCH + ") " + c.agent
		var sent []string
		ids := map[string]bool{}
		for _, r := range requests {
			what := r.Method + " " + r.URL.Path
			if r.URL.Query().Has("watch") {
				what += " watch"
			}

			sent = append(sent, what)
			ids[r.Header.Get("Audit-ID")] = true
			if got := r.Header.Values("User-Agent"); len(got) != 1 || got[0] != agent {
				t.Errorf("%q: %s has User-Agent %q, want %q", c.args, what, got, agent)
			}
			if id := r.Header.Values("Audit-ID"); len(id) != 1 || !uuid.MatchString(id[0]) || runs[id[0]] {
				t.Errorf("%q: %s has Audit-ID %q, want one UUID that only this run has", c.args, what, id)
			}
		}

		if len(ids) != 1 {
			t.Errorf("%q: Audit-IDs %v, want one", c.args, ids)
		}

		for id := range ids {
			runs[id] = true
		}

		for _, want := range c.sent {
			method, path, _ := strings.Cut(want, " ")
			if !slices.ContainsFunc(sent, func(s string) bool { return strings.HasPrefix(s, method) && strings.HasSuffix(s, path) }) {
				t.Errorf("%q sends %q, want %s among them", c.args, sent, want)
			}
		}
	}
}

// TestReason checks that --reason shows in the container's arguments, and that kdiag
// finds a container again whatever its reason was.
func TestReason(t *testing.T) {
	becomeNewUser(t)
	api := newFakeAPI(t, "")
	for _, reason := range []string{"--reason=INC-123: größer", "--reason=another", "--profile=auto"} {
		if code, _, stderr := api.runKdiag("shell", "web", "-q", reason, "--", "-c", "true"); code != 0 {
			t.Fatalf("shell %s: code %d, %s", reason, code, stderr)
		}
	}

	api.mu.Lock()
	defer api.mu.Unlock()

	if got := len(api.pod.Spec.EphemeralContainers); got != 1 {
		t.Fatalf("%d containers after runs with several reasons, want 1", got)
	}
	if args := api.pod.Spec.EphemeralContainers[0].Args; !slices.Contains(args, "--reason=INC-123: größer") {
		t.Errorf("the container's arguments = %q, want the reason among them", args)
	}
}
