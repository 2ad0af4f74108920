package integration

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// token makes a service account that may do anything, and returns its token.
func token(t *testing.T, namespace string) string {
	t.Helper()
	kubectl(t, "create", "serviceaccount", "-n", namespace, "tester")
	kubectl(t, "create", "rolebinding", "-n", namespace, "tester", "--clusterrole=cluster-admin", "--serviceaccount="+namespace+":tester")
	return kubectl(t, "create", "token", "-n", namespace, "tester")
}

// inFile writes what kubectl's configuration says in base64 at a path into a
// file.
func inFile(t *testing.T, path string) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(kubectl(t, "config", "view", "--raw", "--minify", "-o", "jsonpath="+path))
	if err != nil || len(data) == 0 {
		t.Fatalf("kubeconfig: %s: %q, %v", path, data, err)
	}
	file := filepath.Join(t.TempDir(), "data.pem")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestConnectionFlags reaches the cluster by each of kubectl's flags.
func TestConnectionFlags(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	authority := inFile(t, "{.clusters[0].cluster.certificate-authority-data}")
	certificate := inFile(t, "{.users[0].user.client-certificate-data}")
	key := inFile(t, "{.users[0].user.client-key-data}")
	bare := []string{"--kubeconfig=/dev/null", "--server=" + server(t).String()}

	// Two files: one has the cluster, the other the user and the context.
	dir := t.TempDir()
	clusters, users := filepath.Join(dir, "clusters"), filepath.Join(dir, "users")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	write(clusters, `{apiVersion: v1, kind: Config, clusters: [{name: far, cluster: {server: "https://127.0.0.1:1"}},
		{name: near, cluster: {server: "`+server(t).String()+`", certificate-authority: "`+authority+`"}}]}`)
	write(users, `{apiVersion: v1, kind: Config, current-context: wrong,
		users: [{name: nobody, user: {token: none}}, {name: me, user: {client-certificate: "`+certificate+`", client-key: "`+key+`"}}],
		contexts: [{name: wrong, context: {cluster: far, user: nobody}}, {name: right, context: {cluster: near, user: me, namespace: `+namespace+`}}]}`)
	both := []string{"KUBECONFIG=" + clusters + string(os.PathListSeparator) + users}

	inNamespace := func(flags ...string) []string { return append(flags, "-n", namespace) }
	for name, c := range map[string]struct {
		env   []string
		flags []string
	}{
		"token and authority":     {nil, inNamespace(append(bare, "--token="+token(t, namespace), "--certificate-authority="+authority)...)},
		"certificate":             {nil, inNamespace(append(bare, "--client-certificate="+certificate, "--client-key="+key, "--certificate-authority="+authority)...)},
		"no check of the server":  {nil, inNamespace(append(bare, "--client-certificate="+certificate, "--client-key="+key, "--insecure-skip-tls-verify")...)},
		"context of several":      {both, []string{"--context=right"}},
		"cluster and user":        {both, inNamespace("--cluster=near", "--user=me")},
		"group to act as":         {nil, inNamespace("--as=someone", "--as-group=system:authenticated", "--as-group=system:masters")},
		"bound on plain requests": {nil, inNamespace("--request-timeout=20s")},
	} {
		t.Run(name, func(t *testing.T) {
			got := kdiagWith(t, "", c.env, append(append([]string{"shell"}, c.flags...), "root", "--", "-c", "echo there")...)
			if got.code != 0 || got.stdout != "there\n" {
				t.Errorf("shell %q: %v", c.flags, got)
			}
		})
	}

	failure{1, "no right to get pods", `verb "get" on pods`}.check(t, "nobody's rights",
		kdiag(t, "shell", "-n", namespace, "root", "--as=someone", "--as-group=system:authenticated"))
	// Which of its clocks net/http names is chance; the hint is not.
	failure{1, "find pod web: API server https://127.0.0.1:", "--request-timeout"}.check(t, "a deaf server with --request-timeout",
		kdiag(t, "shell", "web", "--server=https://127.0.0.1:"+deaf(t, "127.0.0.1:0"), "--request-timeout=1s"))
}

// noWebSocket starts a proxy before the API server that knows no WebSocket, as
// older ones do.
func noWebSocket(t *testing.T) (at string, refused, spdy *atomic.Int32) {
	t.Helper()
	refused, spdy = new(atomic.Int32), new(atomic.Int32)
	forward := httputil.NewSingleHostReverseProxy(server(t))
	forward.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	forward.ErrorLog = log.New(io.Discard, "", 0)
	old := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch upgrade := strings.ToLower(r.Header.Get("Upgrade")); {
		case upgrade == "websocket":
			refused.Add(1)
			http.Error(w, "no such protocol", http.StatusBadRequest)
			return
		case strings.HasPrefix(upgrade, "spdy/"):
			spdy.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))

	t.Cleanup(old.Close)
	return old.URL, refused, spdy
}

// TestWithoutWebSocket goes through a proxy that knows no WebSocket: over SPDY
// the same works.
func TestWithoutWebSocket(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	old, refused, spdy := noWebSocket(t)
	through := []string{"shell", "-n", namespace, "root", "--kubeconfig=/dev/null", "--server=" + old, "--insecure-skip-tls-verify", "--token=" + token(t, namespace)}
	got := kdiagWith(t, "in\n", nil, append(through, "--", "-c", "cat; echo err >&2; exit 7")...)
	if got.code != 7 || got.stdout != "in\n" || got.stderr != "err\n" {
		t.Errorf("shell over SPDY: %v, want in, err and code 7", got)
	}
	if refused.Load() == 0 || spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", refused.Load(), spdy.Load())
	}
}
