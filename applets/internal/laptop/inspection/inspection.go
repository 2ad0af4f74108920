// Package inspection looks from the laptop at a container in a pod: it has
// "kdiag inspect" run in the shell container beside it, and reads what that
// prints.
package inspection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// Options say what is looked at, and how long it may take.
type Options struct {
	// Connected has the sockets that are connected, too.
	Connected bool
	// Interval is the time from one snapshot to the next; 0 for a single one.
	Interval time.Duration
	// Timeout bounds the wait for the shell container, and for each snapshot.
	Timeout time.Duration
	// Notes is told which container was taken, where there was a choice.
	Notes io.Writer
}

// Run has the shell container of a request run, and calls each with every
// snapshot of the target: one, or one at each interval until ctx ends. It ends
// with the first error of each's. A shell container that had just ended, as an
// idle one does, is replaced once.
func Run(ctx context.Context, shell *kubeflags.Shell, o Options, each func(kube.Injected, wire.Snapshot) error) error {
	seen := false
	tell := func(injected kube.Injected, s wire.Snapshot) error {
		seen = true
		return each(injected, s)
	}

	err := runOnce(ctx, shell, o, tell)
	var said *saidError
	if err == nil || ctx.Err() != nil || seen || errors.As(err, &said) || !shell.Ended(ctx) {
		return err
	}

	return runOnce(ctx, shell, o, tell)
}

func runOnce(ctx context.Context, shell *kubeflags.Shell, o Options, each func(kube.Injected, wire.Snapshot) error) error {
	ensuring, cancel := kube.WithTimeout(ctx, o.Timeout)
	defer cancel()
	injected, err := shell.Ensure(ensuring, o.Notes)
	if err != nil {
		return err
	}
	if note := kubeflags.GrantNote(injected); note != "" {
		applets.Note(o.Notes, "%s", note)
	}
	return o.exec(ctx, shell, injected, each)
}

// exec runs "kdiag inspect" in the container.
func (o Options) exec(ctx context.Context, shell *kubeflags.Shell, injected kube.Injected, each func(kube.Injected, wire.Snapshot) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(o.Timeout, func() { cancel(&kube.TimeoutError{After: o.Timeout}) })
	defer late.Stop()
	out := &lines{most: wire.MaxSnapshot, stop: cancel, each: func(line []byte) error {
		late.Reset(o.Interval + o.Timeout)
		taken, err := wire.ParseSnapshot(line)
		if err != nil {
			return applets.WithHint(fmt.Errorf("read the snapshot of %s: %w", shell.Target, err), "is %s the image of this kdiag?", shell.Image)
		}
		return each(injected, taken)
	}}

	// In the pod its end is the client's.
	stdin, open := io.Pipe()
	defer open.Close()
	if o.Interval == 0 {
		_ = open.Close()
	}

	stderr := &beginning{most: 4096}
	err := shell.Cluster.Exec(ctx, kube.Exec{
		Namespace: shell.Target.Pod.Namespace, Pod: shell.Target.Pod.Name, Container: injected.Name,
		Command: o.command(shell.Target), Stdin: stdin, Stdout: out, Stderr: stderr, OpenTimeout: o.Timeout,
	})
	var exit *kube.ExitError
	switch {
	case out.err != nil:
		return out.err
	case errors.As(err, &exit):
		return explain(shell, exit, string(stderr.text))
	}

	return err
}

func (o Options) command(target kube.Target) []string {
	return append([]string{wire.Binary}, wire.InspectArguments{
		Target:    wire.Target{ID: target.ID, SharedPIDs: target.SharesPIDs()},
		Connected: o.Connected, Interval: o.Interval,
	}.Args()...)
}

// saidError is what "kdiag inspect" itself said of its failure.
type saidError struct {
	target kube.Target
	text   string
	hint   string
}

func (e *saidError) Error() string { return fmt.Sprintf("look at %s: %s", e.target, e.text) }
func (e *saidError) Hint() string  { return e.hint }

// explain makes an error of an exit code and of the lines on stderr, which are
// as kdiag prints them: "kdiag: …", and "hint: …".
func explain(shell *kubeflags.Shell, exit *kube.ExitError, stderr string) error {
	said := &saidError{target: shell.Target, text: exit.Error()}
	for line := range strings.Lines(stderr) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "kdiag: "); ok {
			said.text = text
		}
		if text, ok := strings.CutPrefix(line, "hint: "); ok {
			said.hint = text
		}
	}

	if exit.Code == applets.ExitUnknown || exit.Code == applets.ExitUsage {
		said.hint = fmt.Sprintf("is %s the image of this kdiag?", shell.Image)
	}

	return said
}
