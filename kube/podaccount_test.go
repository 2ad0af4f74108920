package kube

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// inPod has the test run as in a pod whose API server is the test's, without a kubeconfig. It
// returns the directory of the pod's service account.
func inPod(t *testing.T, server *httptest.Server) string {
	t.Helper()
	directory := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string]string{"token": "of the account", "namespace": "apps\n", "ca.crt": string(authority)} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	t.Setenv("KUBECONFIG", filepath.Join(directory, "none"))
	t.Setenv("POD_NAMESPACE", "")
	return directory
}

// TestConnectInPod connects by the pod's service account where nothing else is configured, and by
// what is configured elsewhere.
func TestConnectInPod(t *testing.T) {
	var asked http.Header
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"major":"1","minor":"31","gitVersion":"v1.31.2"}`)
	}))
	defer server.Close()
	directory := inPod(t, server)

	for name, test := range map[string]struct {
		options                 ConnectOptions
		env                     string // POD_NAMESPACE
		namespace, token, actAs string
	}{
		"nothing else":        {namespace: "apps", token: "of the account"},
		"-n":                  {options: ConnectOptions{Namespace: "else"}, namespace: "else", token: "of the account"},
		"POD_NAMESPACE":       {env: "own", namespace: "own", token: "of the account"},
		"--token":             {options: ConnectOptions{Token: "mine"}, namespace: "apps", token: "mine"},
		"--as and --timeout":  {options: ConnectOptions{As: "jane", RequestTimeout: "5s"}, namespace: "apps", token: "of the account", actAs: "jane"},
		"an empty kubeconfig": {options: ConnectOptions{Kubeconfig: "/dev/null"}, namespace: "apps", token: "of the account"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POD_NAMESPACE", test.env)
			test.options.podAccount = directory
			c, err := Connect(test.options, io.Discard)
			if err != nil {
				t.Fatal(err)
			}

			asked = nil
			if _, _, err := c.ReadServerVersion(t.Context()); err != nil {
				t.Fatal(err)
			}
			if token, actAs := asked.Get("Authorization"), asked.Get("Impersonate-User"); c.Namespace != test.namespace || token != "Bearer "+test.token || actAs != test.actAs {
				t.Errorf("namespace %q, %q as %q, want %q, token %q as %q", c.Namespace, token, actAs, test.namespace, test.token, test.actAs)
			}
		})
	}
}

// TestConfigBeforePodAccount keeps to a server, an entry or a kubeconfig that the user names, and to
// kubectl's default outside of a pod.
func TestConfigBeforePodAccount(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	directory := inPod(t, server)
	for name, test := range map[string]struct {
		options ConnectOptions
		server  string // "" for an error
	}{
		"--server":   {ConnectOptions{Server: "https://10.0.0.1"}, "https://10.0.0.1"},
		"kubeconfig": {ConnectOptions{Kubeconfig: writeConfig(t, `{server: "https://10.0.0.2"}`, "{}")}, "https://10.0.0.2"},
		"--context":  {ConnectOptions{Context: "none"}, ""},
		"no token":   {ConnectOptions{podAccount: t.TempDir()}, "http://localhost:8080"},
	} {
		if test.options.podAccount == "" {
			test.options.podAccount = directory
		}

		c, err := Connect(test.options, io.Discard)
		if (err != nil) != (test.server == "") || err == nil && c.ServerAddress() != test.server {
			t.Errorf("%s: %v, %v, want server %q", name, c, err, test.server)
		}
	}
}
