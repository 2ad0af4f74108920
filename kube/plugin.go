package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kdiag/mux/wire"

	"k8s.io/client-go/rest"
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

// pluginTransport ends a request with its context although client-go, which runs the plugin,
// ignores that meanwhile. It reports what the plugin did wrong as a *PluginError.
type pluginTransport struct {
	gatedTransport
}

// passedKey is the key, in a request's context, of the *pluginPass that says whether the plugin has
// let the request pass.
type passedKey struct{}

// watchPlugin marks requests that the plugin has let pass.
func watchPlugin(config *rest.Config) {
	if config.ExecProvider == nil {
		return
	}

	config.Wrap(func(base http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if pass, ok := request.Context().Value(passedKey{}).(*pluginPass); ok {
				pass.markPassed()
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
	pass := &pluginPass{}
	request = request.WithContext(context.WithValue(ctx, passedKey{}, pass))

	response, err := callUnlessDone(ctx, func() (*http.Response, error) {
		return t.gatedTransport.RoundTrip(request)
	}, func(late *http.Response) { _ = late.Body.Close() })

	var known *PluginError
	if err == nil || pass.passed.Load() || errors.As(err, &known) {
		return response, err
	}
	return nil, t.pluginError(err)
}
