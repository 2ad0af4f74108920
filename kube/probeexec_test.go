package kube

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serveFiltered serves an API of which a filter, as kubectl proxy's, refuses exec unless it is open.
func serveFiltered(t *testing.T, open bool) *Cluster {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			_, _ = io.WriteString(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
		case !open:
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "Forbidden")
		default:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","message":"container none- is not valid for pod web","code":400}`)
		}
	}))
	t.Cleanup(server.Close)

	cluster, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, `{server: "`+server.URL+`"}`, "{}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// TestFilteredExec names the filter that refuses an exec, to who probes for it and to who needs one.
func TestFilteredExec(t *testing.T) {
	if err := serveFiltered(t, true).ProbeExec(t.Context(), "ns", "web"); err != nil {
		t.Errorf("ProbeExec without a filter = %v, want nil", err)
	}

	filtered := serveFiltered(t, false)
	run := ExecRequest{
		Namespace: "ns", Pod: "web", Container: "app", Command: []string{"true"},
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, OpenTimeout: time.Minute,
	}
	for name, err := range map[string]error{
		"ProbeExec": filtered.ProbeExec(t.Context(), "ns", "web"), "Exec": filtered.Exec(t.Context(), run),
	} {
		line, hints := splitError(err)
		if !strings.Contains(line, "403 Forbidden") || !strings.Contains(hints, "--reject-paths='^$'") {
			t.Errorf("%s = %q, hints %q, want 403 and kubectl proxy's filter", name, line, hints)
		}
	}
}
