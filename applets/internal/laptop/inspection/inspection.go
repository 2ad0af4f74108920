// Package inspection looks from the laptop at a container in a pod: it has
// "kdiag inspect" run in the shell container beside it, and reads what that
// prints.
package inspection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// Query says what is looked at.
type Query struct {
	// Connected has the sockets that are connected, too.
	Connected bool
	// Interval is the time from one snapshot to the next; 0 for a single one.
	Interval time.Duration
}

// Inspect has a shell container run, and calls each with every snapshot of the
// target: one, or one at each interval until ctx ends. It ends with the first
// error of each's. The handle's time-out bounds the wait for each snapshot, too.
// At an interval, it connects again if the connection breaks after the first
// snapshot, and says so.
func Inspect(ctx context.Context, shell *containers.Shell, q Query, each func(kube.Injected, wire.Snapshot) error) error {
	return lookAt(ctx, shell, look[wire.Snapshot]{q, false, "the snapshot", wire.ParseSnapshot}, each)
}

// ReadEnvironment has a shell container run, and calls each with the environment of the target's
// first process, once.
func ReadEnvironment(ctx context.Context, shell *containers.Shell, each func(kube.Injected, wire.Environment) error) error {
	return lookAt(ctx, shell, look[wire.Environment]{Query{}, true, "the environment", wire.ParseEnvironment}, each)
}

// look says what "kdiag inspect" is to print, and how each of its lines is read.
type look[T any] struct {
	Query
	environment bool
	// what names the thing that is read, for messages.
	what  string
	parse func(line []byte) (T, error)
}

// lookAt does what Inspect does, for whatever a line holds.
func lookAt[T any](ctx context.Context, shell *containers.Shell, l look[T], each func(kube.Injected, T) error) error {
	i := &inspector[T]{look: l, shell: shell, each: each}
	err := i.inspectOnce(ctx)
	if !i.isLost(ctx, err) {
		return err
	}
	return i.inspectAgain(ctx, err)
}

// inspector looks at one target.
type inspector[T any] struct {
	look[T]
	shell *containers.Shell
	each  func(kube.Injected, T) error

	// seen says that a line has come, and came that one has come since the connection
	// was made that the user knows of.
	seen, came bool
	// unread says that what came could not be read, or shown.
	unread bool
}

// inspectOnce looks at the target over one connection.
func (i *inspector[T]) inspectOnce(ctx context.Context) error {
	use := func(ctx context.Context, container kube.Injected) error {
		if note := containers.GrantNote(container); note != "" && !i.seen {
			i.shell.Note(note)
		}
		return i.exec(ctx, i.shell, func(taken T) error {
			i.seen, i.came = true, true
			return i.each(container, taken)
		})
	}

	return i.shell.Use(ctx, use, func(error) bool { return !i.came })
}

// exec runs "kdiag inspect" in the container.
func (i *inspector[T]) exec(ctx context.Context, shell *containers.Shell, each func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := shell.Timeout()
	late := time.AfterFunc(timeout, func() { cancel(&kube.TimeoutError{After: timeout}) })
	defer late.Stop()

	complete := false
	out := &lineSplitter{most: wire.MaxSnapshot, stop: cancel, each: func(line []byte) error {
		// The pod has answered. It is not late while the user does not read.
		late.Stop()
		defer late.Reset(i.Interval + timeout)

		taken, err := i.parse(line)
		if err != nil {
			return applets.WithHint(fmt.Errorf("read %s of %s: %w", i.what, shell.Target(), err), "check that %s is an image of this kdiag", shell.Image())
		}
		if err = each(taken); err == nil && i.Interval == 0 {
			complete = true
			cancel(nil)
		}
		return err
	}}

	// In the pod, inspect stops when its stdin ends, so it never outlives this client.
	stdin, open := io.Pipe()
	defer open.Close()

	stderr := &containers.ErrorText{}
	err := shell.Exec(ctx, kube.ExecRequest{Command: i.command(shell.Target()), Stdin: stdin, Stdout: out, Stderr: stderr})
	var exit *kube.CommandExitError
	switch {
	case complete:
		return nil
	case out.err != nil:
		i.unread = true
		return out.err
	case errors.As(err, &exit):
		return ExplainExit(ctx, shell, "look at", exit, stderr)
	case err == nil && i.Interval == 0:
		return fmt.Errorf("look at %s: connection lost before all of the output arrived", shell.Target())
	case err == nil:
		// It would have gone on as long as its stdin was open.
		return fmt.Errorf("look at %s: %w", shell.Target(), errConnectionLost)
	}

	return err
}

func (l look[T]) command(target kube.TargetContainer) []string {
	return append([]string{wire.Binary}, wire.InspectArguments{
		Target:      wire.TargetArguments{ID: target.ID, SharedPIDs: target.SharesPIDs()},
		Environment: l.environment, Connected: l.Connected, Interval: l.Interval,
	}.Args()...)
}

// saidError carries what an applet in the pod itself said of its failure. It wraps
// the exit code.
type saidError struct {
	doing  string
	target kube.TargetContainer
	text   string
	hint   string
	exit   *kube.CommandExitError
}

func (e *saidError) Error() string { return fmt.Sprintf("%s %s: %s", e.doing, e.target, e.text) }
func (e *saidError) Hint() string  { return e.hint }
func (e *saidError) Unwrap() error { return e.exit }

// ExplainExit makes an error of the exit code of an applet in the pod, and of the lines that it
// printed to stderr. Doing says what was tried with the target, as in "look at".
func ExplainExit(ctx context.Context, shell *containers.Shell, doing string, exit *kube.CommandExitError, stderr *containers.ErrorText) error {
	said := &saidError{doing: doing, target: shell.Target(), text: exit.Error(), exit: exit}
	if exit.Code == applets.ExitSIGKILL {
		said.text = cmp.Or(shell.DescribeKill(ctx), said.text)
	}

	text, hint := stderr.Said()
	said.text, said.hint = cmp.Or(text, said.text), hint

	if wire.IsFromOlder(said.text) {
		return containers.NewOlderImageError(doing+" "+shell.Target().String(), shell.Image(), said.text, exit)
	}
	// The program there is none of ours.
	if exit.Code == applets.ExitUnknown || exit.Code == applets.ExitUsage {
		said.hint = fmt.Sprintf("check that %s is an image of this kdiag", shell.Image())
	}

	if strings.HasPrefix(said.text, wire.NoProcess(shell.Target().ID)) {
		return &containers.NoProcessError{Said: said.text, Err: said}
	}
	return said
}
