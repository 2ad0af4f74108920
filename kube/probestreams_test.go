package kube

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// newSPDYServer serves port-forwards over SPDY alone, and answers a WebSocket with a status and
// a body.
func newSPDYServer(t *testing.T, status int, body string) *Cluster {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return
		}

		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			t.Error(err)
			return
		}
		accept := func(httpstream.Stream, <-chan struct{}) error { return nil }
		if connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, accept); connection != nil {
			<-connection.CloseChan()
		}
	}))
	t.Cleanup(server.Close)

	cluster, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, trustedConfig(server), "{token: t}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// TestProbeStreams tells a user who may not open a WebSocket from a server that does not know any.
func TestProbeStreams(t *testing.T) {
	const denied = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}`
	const another = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"BadRequest","code":400}`

	for name, c := range map[string]struct {
		status int
		body   string
		want   StreamRoute
	}{
		"no right to get": {http.StatusForbidden, denied, StreamRoute{"SPDY", "get pods/portforward"}},
		"a proxy's 403":   {http.StatusForbidden, "Forbidden", StreamRoute{"SPDY", ""}},
		"an old server":   {http.StatusBadRequest, another, StreamRoute{"SPDY", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newSPDYServer(t, c.status, c.body).ProbeStreams(t.Context(), "ns", "web")
			if err != nil || got != c.want {
				t.Errorf("ProbeStreams = %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}
