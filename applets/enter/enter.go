// Package enter is the applet that puts a shell into a target container from the ephemeral
// container beside it: it joins the target as far as it may, and becomes the shell. A second
// process of it waits as the session's lifeline, and hangs the shell up when the laptop has gone.
package enter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/mux/wire"
	scratchshell "kdiag/scratch-shell"
)

// Applet returns "kdiag enter".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletEnter,
		Summary:     "In the pod: join a container and become a shell in it",
		ArgsUsage:   "[flags] [-- ash arguments]",
		Description: wire.EnterUsage(),
		Hidden:      true,
		Raw:         true,
		First:       lockdown.CloseProcess,
		Args:        []applets.Kind{applets.KindNone},
		RestKind:    applets.KindText,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseEnterArguments(inv.Args)
			if err != nil {
				return applets.WithHint(applets.Usage("%w", err), "put arguments of the shell after --")
			}

			return runArguments(ctx, inv.Streams, arguments)
		},
	}
}

// runArguments does what a command line asks for.
func runArguments(ctx context.Context, streams applets.Streams, arguments wire.EnterArguments) error {
	if arguments.Lifeline {
		if !isSessionID(arguments.Session) {
			return applets.Usage("--lifeline needs --session=ID in hexadecimal digits")
		}

		return runLifeline(ctx, streams.In, arguments.Session)
	}

	if arguments.Load {
		return loadPrograms(ctx, streams, arguments.Programs)
	}

	opts := newOptions(arguments)
	if err := opts.checkFlags(); err != nil {
		return &applets.UsageError{Err: err}
	}

	return run(streams, opts)
}

// options says which container to enter and how to run its shell.
type options struct {
	wire.EnterArguments
	// openShell returns the shell, an executable that runs ash if its argv[1] says so.
	openShell func() (io.Reader, error)
}

// newOptions makes the options of a command line.
func newOptions(arguments wire.EnterArguments) options {
	return options{EnterArguments: arguments, openShell: scratchshell.Open}
}

// isSessionID reports whether a session's ID is 8 to 64 hexadecimal digits.
func isSessionID(id string) bool {
	return len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// checkFlags refuses what no kdiag on a laptop asks for.
func (o options) checkFlags() error {
	if o.Session != "" && !isSessionID(o.Session) {
		return fmt.Errorf("--session %q: must be 8 to 64 hexadecimal digits", o.Session)
	}
	if o.Relay && o.Session == "" {
		return errors.New("--relay needs --session=ID")
	}
	if err := podproc.CheckTarget(o.Target); err != nil {
		return err
	}
	if o.Here && o.Node || o.Node && o.Target.ID != "" {
		return errors.New("--node takes neither --here nor --container-id")
	}

	if len(o.Programs) > 0 && o.ProgramsFrom == "" {
		return errors.New("--program needs --programs-from=SOCKET")
	}

	for _, variable := range o.Env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" {
			return fmt.Errorf("--env %q: must be NAME=VALUE", variable)
		}
	}

	return nil
}

// shellName returns the shell's argv[0]. If it begins with "busybox", busybox goes by argv[1].
func shellName(session string) string {
	if session == "" {
		return "busybox-kdiag"
	}
	return "busybox-kdiag-" + session
}

// relayWord is the argument by which the program becomes the parent of its shell. Keep it the same
// as WORD in scratch-shell/busybox/relay.c.
const relayWord = "kdiag-relay"

// shellLine returns the command line of the shell.
func (o options) shellLine() []string {
	line := []string{shellName(o.Session)}
	if o.Relay {
		line = append(line, relayWord)
	}
	return append(append(line, "ash"), o.Shell...)
}
