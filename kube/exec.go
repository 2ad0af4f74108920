package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	watchtools "k8s.io/client-go/tools/watch"
	utilexec "k8s.io/client-go/util/exec"
)

// ExecRequest describes a command to run in a container.
type ExecRequest struct {
	Namespace, Pod, Container string
	Command                   []string
	// Stdin must not be nil. It is read once the streams are open, and stays open.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Sizes gives the command a terminal of these sizes, if it is not nil. Its stderr then
	// comes with stdout.
	Sizes remotecommand.TerminalSizeQueue
	// Opened is called once, when the API server has opened the streams. It may be nil.
	Opened func()
	// OpenTimeout limits the time until then.
	OpenTimeout time.Duration
}

// CommandExitError reports a command that ran and exited with a code other than 0.
type CommandExitError struct{ Code int }

func (e *CommandExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// NotStartedError reports a command that was not started, because its streams never opened.
// It is safe to try again.
type NotStartedError struct{ Err error }

func (e *NotStartedError) Error() string { return e.Err.Error() }
func (e *NotStartedError) Unwrap() error { return e.Err }

// Exec runs a command in a container and waits for its end: over a WebSocket (KEP-4006), or
// over SPDY if the server, or a proxy before it, does not support WebSockets. It returns a
// *CommandExitError for an exit code other than 0, and a *NotStartedError if the command was not
// started. Exec closes the streams when ctx ends; that does not end the command.
func (c *Cluster) Exec(ctx context.Context, e ExecRequest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	opened := newStreamOpening(e.Opened)
	timer := time.AfterFunc(e.OpenTimeout, func() {
		if !opened.isOpened() {
			cancel(&TimeoutError{e.OpenTimeout})
		}
	})
	defer timer.Stop()

	options := remotecommand.StreamOptions{
		Stdin:             e.Stdin,
		Stdout:            e.Stdout,
		Tty:               e.Sizes != nil,
		TerminalSizeQueue: e.Sizes,
	}
	if e.Sizes == nil {
		options.Stderr = e.Stderr
	}

	err := c.runStreams(ctx, e, opened, options)
	var exit utilexec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.Exited():
		return &CommandExitError{exit.ExitStatus()}
	}

	return c.explainExecError(ctx, e, opened, err)
}

// explainExecError says why the streams of a command did not open, or broke off.
func (c *Cluster) explainExecError(ctx context.Context, e ExecRequest, opened *streamOpening, err error) error {
	doing := fmt.Sprintf("exec in container %s of pod %s/%s", e.Container, e.Namespace, e.Pod)
	right := rightCreateExec.scopedTo(e.Namespace, e.Pod)
	failure := c.explainError(ctx, doing, right, err)

	if opened.isOpened() && context.Cause(ctx) == nil && isRefusedByRuntime(err) {
		return &NotStartedError{&Error{Doing: doing, Err: err}}
	}
	if !opened.isOpened() {
		// client-go reduces the server's answer to text, so ask which right is missing.
		if may, askErr := c.reviewAccess(ctx, right); askErr == nil && !may {
			failure = deniedError(doing, right, err)
		} else if tried := c.tryExec(ctx, e.Namespace, e.Pod); isFiltered(tried) {
			failure = c.explainError(ctx, doing, right, tried)
		}
		return &NotStartedError{failure}
	}

	if context.Cause(ctx) == nil {
		failure = &Error{Doing: doing, Err: fmt.Errorf("connection lost: %w", c.simplifyError(err))}
	}

	return failure
}

// runStreams opens the streams of a command and copies them until they end.
func (c *Cluster) runStreams(ctx context.Context, e ExecRequest, opened *streamOpening, options remotecommand.StreamOptions) error {
	config := rest.CopyConfig(c.streams)
	config.Wrap(opened.watchUpgrade)

	at := c.core.Post().Resource("pods").Namespace(e.Namespace).Name(e.Pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: e.Container, Command: e.Command,
			Stdin: true, Stdout: true, Stderr: e.Sizes == nil, TTY: e.Sizes != nil,
		}, c.codec).URL()

	// RFC 6455, 4.1: a WebSocket begins with a GET.
	executor, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, at.String())
	if err != nil {
		return err
	}

	err = executor.StreamWithContext(ctx, options)
	if !lacksWebSocket(err) {
		return err
	}
	if executor, err = remotecommand.NewSPDYExecutor(config, http.MethodPost, at); err != nil {
		return err
	}

	return executor.StreamWithContext(ctx, options)
}

// ContainerEnded reports whether a container of a pod has ended. It waits up to 3 s for a
// yes, because the API learns of an end a second or two late. It returns false if it cannot
// find out.
func (c *Cluster) ContainerEnded(ctx context.Context, namespace, pod, container string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()

	got, err := getObject[corev1.Pod](ctx, c.pods(namespace), pod)
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	if hasEnded(got, container) {
		return true
	}

	_, err = watchtools.Until(ctx, got.ResourceVersion, c.podWatcher(got), func(event watch.Event) (bool, error) {
		now, ok := event.Object.(*corev1.Pod)
		return event.Type == watch.Deleted || ok && hasEnded(now, container), nil
	})
	return err == nil
}

// streamOpening notes when the API server opens the streams of a command. From then on the
// command may have been started.
type streamOpening struct {
	once   sync.Once
	notify func()
	opened chan struct{}
}

// newStreamOpening makes one that calls notify, unless it is nil, once.
func newStreamOpening(notify func()) *streamOpening {
	return &streamOpening{notify: notify, opened: make(chan struct{})}
}

// markOpened notes that the streams are open; all calls but the first do nothing.
func (o *streamOpening) markOpened() {
	o.once.Do(func() {
		close(o.opened)
		if o.notify != nil {
			o.notify()
		}
	})
}

// isOpened reports whether the streams have opened.
func (o *streamOpening) isOpened() bool { return wire.IsClosed(o.opened) }

// watchUpgrade wraps a round tripper to note the answer 101, by which the server opens the
// streams. The first read of stdin would come too late: it takes place in a goroutine of its
// own, which an immediate error overtakes.
func (o *streamOpening) watchUpgrade(next http.RoundTripper) http.RoundTripper {
	return upgradeWatcher{next, o}
}

type upgradeWatcher struct {
	next http.RoundTripper
	*streamOpening
}

func (w upgradeWatcher) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		w.markOpened()
	}

	return response, err
}

// WrappedRoundTripper lets client-go find the settings of the round tripper inside.
func (w upgradeWatcher) WrappedRoundTripper() http.RoundTripper { return w.next }
