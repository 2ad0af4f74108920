package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"sync/atomic"

	"kdiag/mux/wire"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// PluginError reports that a credential plugin, a command that the kubeconfig names, gave no
// credentials.
type PluginError struct {
	Command string
	// Missing says that the command is not installed.
	Missing bool
	Err     error
	// install is the hint in the kubeconfig.
	install string
}

func (e *PluginError) Error() string {
	if e.Missing {
		return fmt.Sprintf("credential plugin %q not found", e.Command)
	}
	return fmt.Sprintf("credential plugin %q: %v", e.Command, e.Err)
}

func (e *PluginError) Unwrap() error { return e.Err }

// Hint says what to do about it. It does not show the command's arguments, which may be secret.
func (e *PluginError) Hint() string {
	var late *TimeoutError
	switch {
	case e.Missing && e.install != "":
		return wire.OneLine(e.install)
	case e.Missing:
		return "install it or add it to PATH; the user in the kubeconfig needs it"
	case errors.As(e.Err, &late):
		return "it may be waiting for a login: run it by hand, with the arguments in the kubeconfig"
	}

	return "see its output above, or run it by hand with the arguments in the kubeconfig"
}

// pluginTransport wraps client-go's round tripper that runs a plugin. That one ignores the
// request's context while the plugin runs, and returns only text as its errors.
type pluginTransport struct {
	base   http.RoundTripper
	plugin *clientcmdapi.ExecConfig
}

// passedKey is the key, in a request's context, of a flag that says whether the plugin has let
// the request pass.
type passedKey struct{}

// watchPlugin sets that flag for requests that the plugin has let pass.
func watchPlugin(config *rest.Config) {
	if config.ExecProvider == nil {
		return
	}

	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if passed, ok := request.Context().Value(passedKey{}).(*atomic.Bool); ok {
				passed.Store(true)
			}
			return base.RoundTrip(request)
		})
	})
}

// roundTripper lets a function be an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

func (t pluginTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	var passed atomic.Bool
	request = request.WithContext(context.WithValue(ctx, passedKey{}, &passed))

	response, err := callUnlessDone(ctx, func() (*http.Response, error) {
		return t.base.RoundTrip(request)
	}, func(late *http.Response) { _ = late.Body.Close() })
	if err == nil || passed.Load() {
		return response, err
	}

	return nil, t.pluginError(err)
}

// pluginError says that the plugin failed, and whether it is installed.
func (t pluginTransport) pluginError(err error) error {
	failure := &PluginError{Command: t.plugin.Command, Err: err, install: t.plugin.InstallHint}
	_, lookErr := exec.LookPath(t.plugin.Command)
	failure.Missing = lookErr != nil
	return failure
}
