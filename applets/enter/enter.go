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
	scratchshell "kdiag/scratch-shell"

	"github.com/urfave/cli/v2"
)

// Options say which container is entered and how its shell is run.
type Options struct {
	// Session names the session in hexadecimal digits; it stands in the
	// shell's arguments, where the lifeline finds it.
	Session string
	Target  podproc.Container
	// AsTarget runs the shell with the target's user, groups and capabilities.
	AsTarget bool
	// Quiet has nothing noted.
	Quiet bool
	// KeepCapabilities leaves the shell those that only the join needed.
	KeepCapabilities bool
	// TargetEnv names variables that are taken from the target though the shell acts on them, or
	// takeAll.
	TargetEnv []string
	// Env are variables, NAME=VALUE, put over the target's.
	Env []string
	// Prompt is what the prompt begins with; the working directory follows.
	Prompt string
	// Args are ash's arguments.
	Args []string
	// Shell returns the shell, an executable that runs ash when its argv[1]
	// says so.
	Shell func() (io.Reader, error)
}

// Applet is "kdiag enter".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "enter",
		Summary:   "In the pod: join a container and become a shell in it",
		ArgsUsage: "[flags] [-- ash arguments]",
		Hidden:    true,
		First:     lockdown.Close,
		Args:      []applets.Kind{applets.KindNone},
		RestKind:  applets.KindText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "session", Usage: "ID of the session, in hexadecimal digits"},
			&cli.StringFlag{Name: "container-id", Usage: "ID of the target container"},
			&cli.BoolFlag{Name: "shared-pids", Usage: "PID 1 is not the target's: the pod shares processes or has the host's"},
			&cli.BoolFlag{Name: "as-target", Usage: "run the shell with the target's user, groups and capabilities"},
			&cli.BoolFlag{Name: "quiet", Usage: "print no notes"},
			&cli.BoolFlag{Name: "keep-capabilities", Usage: "leave the shell the capabilities that only the join needed"},
			&cli.StringSliceFlag{Name: "target-env", Usage: "variable that is taken from the target though the shell acts on it; or all", KeepSpace: true},
			&cli.StringSliceFlag{Name: "env", Usage: "variable for the shell, over the target's, NAME=VALUE", KeepSpace: true},
			&cli.StringFlag{Name: "prompt", Usage: "what the prompt begins with"},
			&cli.BoolFlag{Name: "lifeline", Usage: "no shell: read stdin to its end, then hang the session up"},
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			opts := Options{
				Session:  inv.Flags.String("session"),
				Target:   podproc.Container{ID: inv.Flags.String("container-id"), SharedPIDs: inv.Flags.Bool("shared-pids")},
				AsTarget: inv.Flags.Bool("as-target"),
				Env:      inv.Flags.StringSlice("env"),

				Quiet:            inv.Flags.Bool("quiet"),
				KeepCapabilities: inv.Flags.Bool("keep-capabilities"),
				TargetEnv:        inv.Flags.StringSlice("target-env"),
				Prompt:           inv.Flags.String("prompt"),
				Args:             inv.Rest,
				Shell:            scratchshell.Open,
			}
			if len(inv.Args) > 0 {
				return applets.Usage("enter: arguments of the shell go after \"--\", got %q", inv.Args)
			}

			if inv.Flags.Bool("lifeline") {
				if !isSession(opts.Session) {
					return applets.Usage("--lifeline needs --session=ID in hexadecimal digits")
				}
				return lifeline(ctx, inv.In, opts.Session)
			}

			if err := opts.check(); err != nil {
				return &applets.ExitError{Code: applets.ExitUsage, Err: err}
			}

			return run(inv.Streams, opts)
		},
	}
}

// isSession reports whether a session's ID is 8 to 64 hexadecimal digits.
func isSession(id string) bool {
	return len(id) >= 8 && len(id) <= 64 && strings.Trim(id, "0123456789abcdef") == ""
}

func (o Options) check() error {
	if o.Session != "" && !isSession(o.Session) {
		return fmt.Errorf("--session %q is not 8 to 64 hexadecimal digits", o.Session)
	}
	if err := o.Target.Check(); err != nil {
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
