// Package enter is the applet that puts a shell into a target container from
// the ephemeral container beside it: it joins the target as far as it may,
// and becomes the shell. A second one of it stands by as the session's
// lifeline and hangs the shell up when the user's side is gone.
package enter

import (
	"context"
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/mux/wire"
	scratchshell "kdiag/scratch-shell"
)

// Applet is "kdiag enter".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletEnter,
		Summary:     "In the pod: join a container and become a shell in it",
		ArgsUsage:   "[flags] [-- ash arguments]",
		Description: wire.EnterUsage(),
		Hidden:      true,
		Raw:         true,
		First:       lockdown.Close,
		Args:        []applets.Kind{applets.KindNone},
		RestKind:    applets.KindText,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseEnterArguments(inv.Args)
			if err != nil {
				return applets.WithHint(applets.Usage("%w", err), "arguments of the shell go after --")
			}

			if arguments.Lifeline {
				if !isSession(arguments.Session) {
					return applets.Usage("--lifeline needs --session=ID in hexadecimal digits")
				}
				return lifeline(ctx, inv.In, arguments.Session)
			}

			opts := newOptions(arguments)
			if err := opts.check(); err != nil {
				return &applets.ExitError{Code: applets.ExitUsage, Err: err}
			}

			return run(inv.Streams, opts)
		},
	}
}

// options say which container is entered and how its shell is run.
type options struct {
	wire.EnterArguments
	target podproc.Container
	// openShell returns the shell, an executable that runs ash when its argv[1]
	// says so.
	openShell func() (io.Reader, error)
}

func newOptions(arguments wire.EnterArguments) options {
	return options{EnterArguments: arguments, target: podproc.Container(arguments.Target), openShell: scratchshell.Open}
}

// isSession reports whether a session's ID is 8 to 64 hexadecimal digits.
func isSession(id string) bool {
	return len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdef") == ""
}

func (o options) check() error {
	if o.Session != "" && !isSession(o.Session) {
		return fmt.Errorf("--session %q is not 8 to 64 hexadecimal digits", o.Session)
	}
	if err := o.target.Check(); err != nil {
		return err
	}

	for _, variable := range o.Env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" {
			return fmt.Errorf("--env %q is not NAME=VALUE", variable)
		}
	}

	return nil
}

// shellName is the shell's argv[0]: busybox goes by argv[1] when it begins with
// "busybox".
func shellName(session string) string {
	if session == "" {
		return "busybox-kdiag"
	}
	return "busybox-kdiag-" + session
}
