package kube

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// splitError returns what the user reads of an error: its line, and the hints below it.
func splitError(err error) (line, hints string) {
	for at := err; at != nil; at = errors.Unwrap(at) {
		if hinted, ok := at.(interface{ Hint() string }); ok { //nolint:errorlint // walks the chain itself
			hints += hinted.Hint()
		}
	}
	return fmt.Sprint(err), hints
}

// findWeb asks for a pod by way of a kubeconfig of one context, "ctx", whose
// cluster and user are given as YAML. It returns what the user reads.
func findWeb(t *testing.T, cluster, user string) (line, hints string) {
	t.Helper()
	connection, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, cluster, user)}, io.Discard)
	if err != nil {
		return splitError(err)
	}
	ctx, cancel := WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = connection.FindPod(ctx, Selection{Kind: "pods", Name: "web"})
	return splitError(err)
}

func writeConfig(t *testing.T, cluster, user string) string {
	t.Helper()
	return writeFile(t, `{apiVersion: v1, kind: Config, current-context: ctx,
		contexts: [{name: ctx, context: {cluster: far, user: dev}}],
		clusters: [{name: far, cluster: `+cluster+`}], users: [{name: dev, user: `+user+`}]}`)
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startAnswering starts a server that gives one answer to everything, over TLS or not.
func startAnswering(t *testing.T, overTLS bool, code int, contentType, body string) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if overTLS {
		server.StartTLS()
	} else {
		server.Start()
	}

	t.Cleanup(server.Close)
	return server
}

// unauthorized is an API server's answer to credentials that it rejects.
const unauthorized = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`

func trustedConfig(at *httptest.Server) string {
	return `{insecure-skip-tls-verify: true, server: "` + at.URL + `"}`
}

// findClosedPort finds a port on loopback where nothing listens.
func findClosedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// TestUnreachable wants one line and a hint for each way in which a server is out of reach.
func TestUnreachable(t *testing.T) {
	const page = "<html>\n<body>log in</body>\n</html>"
	well := startAnswering(t, true, 401, "application/json", unauthorized)
	authority := writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: well.Certificate().Raw})))
	proxy := startAnswering(t, false, 403, "text/html", page)

	for name, test := range map[string]struct{ cluster, line, hint string }{
		"refused":        {`{server: "https://` + findClosedPort(t) + `"}`, "connect: connection refused", "check that the cluster is up"},
		"no such name":   {`{server: "https://nothere.invalid"}`, "lookup nothere.invalid", "check that the VPN is up"},
		"another CA":     {`{server: "` + well.URL + `"}`, "certificate signed by unknown authority", "--certificate-authority"},
		"another name":   {`{server: "` + well.URL + `", certificate-authority: "` + authority + `", tls-server-name: other}`, "not other", "--tls-server-name"},
		"plain HTTP":     {`{server: "https://` + startAnswering(t, false, 200, "text/html", page).Listener.Addr().String() + `"}`, " speaks plain HTTP, not HTTPS", "begins with http://"},
		"TLS after all":  {`{server: "http://` + well.Listener.Addr().String() + `"}`, "not an answer from a Kubernetes API server: 400 Bad Request: Client sent an HTTP request to an HTTPS server", "must begin with https://"},
		"proxy refuses":  {`{server: "https://10.0.0.1", proxy-url: "` + proxy.URL + `"}`, "API server https://10.0.0.1 through proxy " + proxy.URL + ": Forbidden", "HTTPS_PROXY"},
		"no proxy":       {`{server: "https://10.0.0.1", proxy-url: "http://me:s3cret@` + findClosedPort(t) + `"}`, "connection refused", "HTTPS_PROXY"},
		"a login page":   {trustedConfig(startAnswering(t, true, 200, "text/html", page)), "not an answer from a Kubernetes API server", "check the address"},
		"no such page":   {trustedConfig(startAnswering(t, true, 404, "text/html", page)), "not an answer from a Kubernetes API server: 404 Not Found: <html> <body>log in</body> </html>", "check the address"},
		"a page forbids": {trustedConfig(startAnswering(t, true, 403, "text/html", page)), "not an answer from a Kubernetes API server: 403 Forbidden", "check the address"},
		"bad gateway":    {trustedConfig(startAnswering(t, true, 502, "text/html", strings.Repeat(page, 50))), "not an answer from a Kubernetes API server: 502 Bad Gateway", "check the address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, hint := findWeb(t, test.cluster, "{token: s3cret}")
			if !strings.HasPrefix(line, "find pod web: API server http") || !strings.Contains(line, test.line) || !strings.Contains(hint, test.hint) {
				t.Errorf("error = %q\nhint = %q\nwant %q and %q", line, hint, test.line, test.hint)
			}
			const longest = 300
			if strings.Contains(line+hint, "s3cret") || strings.Contains(line+hint, "\n") || len(line) > longest {
				t.Errorf("error = %q, hint = %q, want one line each without a secret", line, hint)
			}
		})
	}
}

// TestUnreachableHints wants hints for failures of the network that a test cannot cause.
func TestUnreachableHints(t *testing.T) {
	c, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, `{server: "https://10.0.0.1"}`, "{token: x}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		inner      error
		line, hint string
	}{
		{&net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}, "no route to host", "check that the cluster is up"},
		{&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}, " closed the connection without an answer", "check that the cluster is up"},
		{io.EOF, " closed the connection without an answer", "a load balancer without a working server"},
	} {
		line, hint := splitError(c.explainError(t.Context(), "find pod web", rightGetPods, &url.Error{Op: "Get", URL: "https://10.0.0.1/", Err: test.inner}))
		if !strings.Contains(line, test.line) || !strings.Contains(hint, test.hint) {
			t.Errorf("explainError(%v) = %q, hint %q, want %q and %q", test.inner, line, hint, test.line, test.hint)
		}
	}
}

// TestNoConfig wants to read that no cluster is configured when client-go tries localhost.
func TestNoConfig(t *testing.T) {
	t.Setenv("KUBECONFIG", writeFile(t, ""))
	c, err := Connect(ConnectOptions{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	refused := &url.Error{Op: "Get", URL: c.ServerAddress(), Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	if _, hint := splitError(c.explainError(t.Context(), "find pod web", rightGetPods, refused)); !strings.Contains(hint, "no cluster is configured") {
		t.Errorf("hint = %q, want that no cluster is configured", hint)
	}
}

// TestServerSecret wants a password in the server's address kept secret.
func TestServerSecret(t *testing.T) {
	c, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, `{server: "https://me:s3cret@10.0.0.1"}`, "{}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ServerAddress() + c.Origin(); strings.Contains(got, "s3cret") {
		t.Errorf("Server, Origin = %q, want no password", got)
	}
}
