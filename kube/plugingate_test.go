package kube

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// countedPlugin is a credential plugin that counts how often it is run. It runs what the test
// writes to its file answer.
type countedPlugin struct {
	t         *testing.T
	directory string
	gate      *pluginGate
	client    *http.Client
	server    string
	accepted  atomic.Value // the token that the server accepts
	// rejecting, if set, is called before a request is rejected.
	rejecting func()
}

// newCountedPlugin makes one, and a client of a server that accepts the token "good".
func newCountedPlugin(t *testing.T) *countedPlugin {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the plugin is a script")
	}

	p := &countedPlugin{t: t, directory: t.TempDir(), gate: newPluginGate()}
	p.accepted.Store("good")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+p.accepted.Load().(string) {
			if p.rejecting != nil {
				p.rejecting()
			}
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)

	p.server = server.URL

	script := "#!/bin/sh\necho run >> '" + p.directory + "/runs'\n. '" + p.directory + "/answer'\n"
	command := filepath.Join(p.directory, "plugin")
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}

	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		ExecProvider: &clientcmdapi.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: command,
			InteractiveMode: clientcmdapi.NeverExecInteractiveMode}}
	watchPlugin(config)
	var err error
	if p.client, err = httpClientFor(config, p.gate); err != nil {
		t.Fatal(err)
	}
	return p
}

// answer sets what the plugin does from now on.
func (p *countedPlugin) answer(script string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.directory, "answer"), []byte(script), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// answerToken has the plugin give a token.
func (p *countedPlugin) answerToken(token string) {
	p.t.Helper()
	p.answer(`echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "` + token + `"}}'`)
}

// runs returns how often the plugin was run.
func (p *countedPlugin) runs() int {
	text, _ := os.ReadFile(filepath.Join(p.directory, "runs"))
	return strings.Count(string(text), "run")
}

// send sends a request, and returns the status of its answer.
func (p *countedPlugin) send() (int, error) {
	response, err := p.client.Get(p.server)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode, response.Body.Close()
}

// sendMany sends requests at once, and returns how many of them failed because of the plugin.
func (p *countedPlugin) sendMany(requests int) int {
	var wait sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range requests {
		wait.Go(func() {
			_, err := p.send()
			var plugin *PluginError
			mu.Lock()
			defer mu.Unlock()
			if errors.As(err, &plugin) {
				failed++
			}
		})
	}
	wait.Wait()
	return failed
}

// verifyStatus sends a request, and checks the status of its answer.
func (p *countedPlugin) verifyStatus(what string, want int) {
	p.t.Helper()
	if got, err := p.send(); err != nil || got != want {
		p.t.Errorf("answer %s = %d, %v, want %d", what, got, err, want)
	}
}

// verifyRuns checks how often the plugin has been run.
func (p *countedPlugin) verifyRuns(what string, want int) {
	p.t.Helper()
	if got := p.runs(); got != want {
		p.t.Errorf("runs of the plugin %s = %d, want %d", what, got, want)
	}
}

// TestFailingPluginIsNotRunByEveryRequest has a plugin fail, as one does whose login has expired. It
// is run once for requests at the same time, again only after a pause, and each pause is twice as
// long. Once somebody has logged in all goes on.
func TestFailingPluginIsNotRunByEveryRequest(t *testing.T) {
	p := newCountedPlugin(t)
	now := time.Now()
	p.gate.now = func() time.Time { return now }

	p.answer("echo 'log in again' >&2; exit 1")
	if failed := p.sendMany(20); failed != 20 {
		t.Errorf("requests that failed because of the plugin = %d, want 20", failed)
	}
	p.verifyRuns("for 20 requests", 1)

	want := 1
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		now = now.Add(pause*time.Second - time.Millisecond)
		p.sendMany(3)
		p.verifyRuns("within the pause", want)

		now = now.Add(time.Millisecond)
		p.sendMany(3)
		want++
		p.verifyRuns("after the pause", want)
	}

	p.answerToken("good")
	now = now.Add(time.Minute)
	if failed := p.sendMany(5); failed != 0 {
		t.Errorf("requests that failed after the login = %d, want 0", failed)
	}
	p.verifyRuns("after the login", want+1)
}

// TestRejectedCredentialsRunThePluginTwice has the server reject a token. If the plugin has another
// one, that is used at once; if it has not, it is not run by every request.
func TestRejectedCredentialsRunThePluginTwice(t *testing.T) {
	p := newCountedPlugin(t)
	now := time.Now()
	p.gate.now = func() time.Time { return now }

	p.answerToken("good")
	p.verifyStatus("to the first token", http.StatusOK)
	p.accepted.Store("better")
	p.answerToken("better")
	p.verifyStatus("to the token that was revoked", http.StatusUnauthorized)
	p.verifyStatus("to the next token", http.StatusOK)

	p.accepted.Store("best")
	before := p.runs()
	p.verifyStatus("to a token that was revoked, too", http.StatusUnauthorized)
	p.verifyStatus("to the same token", http.StatusUnauthorized)
	if failed := p.sendMany(20); failed != 20 {
		t.Errorf("requests that failed because of the plugin = %d, want 20", failed)
	}
	p.verifyRuns("while its credentials are rejected", before+2)

	p.answerToken("best")
	now = now.Add(firstPluginPause)
	p.verifyStatus("after the pause", http.StatusUnauthorized)
	p.verifyStatus("with what the plugin gave after the login", http.StatusOK)
}

// TestCredentialsRejectedOnceForManyRequests has the server reject one token of many requests at the
// same time. That is no failure of the plugin, which is asked for another one and gives it.
func TestCredentialsRejectedOnceForManyRequests(t *testing.T) {
	const requests = 8
	p := newCountedPlugin(t)
	p.answerToken("good")
	p.verifyStatus("to the first token", http.StatusOK)

	// No request is rejected before all have come.
	var all sync.WaitGroup
	all.Add(requests)
	p.rejecting = func() { all.Done(); all.Wait() }
	p.accepted.Store("better")
	p.answerToken("better")
	if failed := p.sendMany(requests); failed != 0 {
		t.Errorf("requests that failed because of the plugin = %d, want 0", failed)
	}
	p.verifyRuns("for requests at the same time", 2)

	p.verifyStatus("to the next token", http.StatusOK)
	if failed := p.sendMany(requests); failed != 0 {
		t.Errorf("requests that failed because of the plugin later = %d, want 0", failed)
	}
}
