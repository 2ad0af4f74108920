package kube

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	firstPluginPause = time.Second
	lastPluginPause  = 30 * time.Second
)

// errRejected is the cause while a plugin's credentials are rejected again and again.
var errRejected = errors.New("the API server rejects its credentials")

// pluginGate keeps a credential plugin that fails from being run by every request: each run may
// print a message, or open a browser to log somebody in. After a failure, requests get the same
// error until a pause is over, which doubles with each failure. One request then tries again.
type pluginGate struct {
	now func() time.Time
	// turn is held by the request that may be running the plugin.
	turn chan struct{}

	mu         sync.Mutex
	failure    error
	pause      time.Duration
	until      time.Time
	rejections int
	// generation grows with each rejection that counts.
	generation int
}

// newPluginGate makes a gate that is open.
func newPluginGate() *pluginGate {
	return &pluginGate{now: time.Now, turn: make(chan struct{}, 1)}
}

// enter waits for the turn, and returns the generation of the credentials that the request will
// have. Its error is the last failure if the plugin has failed a moment ago.
func (g *pluginGate) enter(ctx context.Context) (generation int, err error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure != nil && g.now().Before(g.until) {
		<-g.turn
		return 0, g.failure
	}
	return g.generation, nil
}

// close refuses requests for a pause, with this failure.
func (g *pluginGate) close(failure error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse(failure)
}

// refuse does the same while mu is held.
func (g *pluginGate) refuse(failure error) {
	g.pause = max(firstPluginPause, min(2*g.pause, lastPluginPause))
	g.failure, g.until = failure, g.now().Add(g.pause)
}

// judge looks at the answer to a request of a generation that the plugin has let pass. When
// credentials are rejected client-go runs the plugin, and the next request has what that gave. So
// only each second rejection is a failure, and one of a request that was under way before the last
// rejection says nothing new.
func (g *pluginGate) judge(generation int, response *http.Response, failure error) {
	g.mu.Lock()
	defer g.mu.Unlock()

	switch {
	case response.StatusCode != http.StatusUnauthorized:
		g.failure, g.pause, g.rejections = nil, 0, 0
	case generation == g.generation:
		g.generation++
		if g.rejections++; g.rejections%2 == 0 {
			g.refuse(failure)
		}
	}
}

// pluginPass says that the plugin has let a request pass. It then ends the request's turn.
type pluginPass struct {
	passed atomic.Bool
	leave  func()
}

// markPassed notes it, and ends the turn.
func (p *pluginPass) markPassed() {
	p.passed.Store(true)
	if p.leave != nil {
		p.leave()
	}
}

// gatedTransport wraps client-go's round tripper that runs a plugin, to run it only while its
// gate is open.
type gatedTransport struct {
	base   http.RoundTripper
	plugin *clientcmdapi.ExecConfig
	gate   *pluginGate
}

func (t gatedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	generation, err := t.gate.enter(ctx)
	if err != nil {
		return nil, err
	}

	leave := sync.OnceFunc(func() { <-t.gate.turn })
	defer leave()
	pass := &pluginPass{leave: leave}
	if outer, ok := ctx.Value(passedKey{}).(*pluginPass); ok {
		pass.leave = func() { leave(); outer.markPassed() }
	}

	response, err := t.base.RoundTrip(request.WithContext(context.WithValue(ctx, passedKey{}, pass)))
	switch {
	case err == nil:
		t.gate.judge(generation, response, t.pluginError(errRejected))
	case !pass.passed.Load():
		err = t.pluginError(err)
		t.gate.close(err)
	}
	return response, err
}

// pluginError says that the plugin failed, and whether it is installed.
func (t gatedTransport) pluginError(err error) error {
	failure := &PluginError{Command: t.plugin.Command, Err: err, install: t.plugin.InstallHint}
	_, lookErr := exec.LookPath(t.plugin.Command)
	failure.Missing = lookErr != nil
	return failure
}
