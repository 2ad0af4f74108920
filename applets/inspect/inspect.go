// Package inspect is the applet that, in the ephemeral container beside a
// target, looks at the target's processes and their sockets and prints what it
// sees. It only reads.
package inspect

import (
	"context"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"

	"github.com/urfave/cli/v2"
)

// Options say what is looked at.
type Options struct {
	Target podproc.Container
	// Connected has the sockets that are connected, too.
	Connected bool
	// Interval is the time from one snapshot to the next; 0 for a single one.
	Interval time.Duration
}

// Applet is "kdiag inspect".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "inspect",
		Summary:   "In the pod: print a container's processes and sockets as JSON",
		ArgsUsage: "[flags]",
		Args:      []applets.Kind{applets.KindNone},
		Hidden:    true,
		First:     lockdown.Close,
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "container-id", Usage: "ID of the target container"}),
			&cli.BoolFlag{Name: "shared-pids", Usage: "PID 1 is not the target's: the pod shares processes or has the host's"},
			&cli.BoolFlag{Name: "connected", Usage: "connected sockets, too"},
			&cli.DurationFlag{Name: "interval", Usage: "once more after each such time, until stdin ends"},
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			opts := Options{
				Target:    podproc.Container{ID: inv.Flags.String("container-id"), SharedPIDs: inv.Flags.Bool("shared-pids")},
				Connected: inv.Flags.Bool("connected"),
				Interval:  inv.Flags.Duration("interval"),
			}
			if len(inv.Args) > 0 || len(inv.Rest) > 0 {
				return applets.Usage("inspect takes no arguments, got %q", append(inv.Args, inv.Rest...))
			}
			if opts.Interval < 0 {
				return applets.Usage("--interval %s is less than nothing", opts.Interval)
			}
			if err := opts.Target.Check(); err != nil {
				return &applets.ExitError{Code: applets.ExitUsage, Err: err}
			}

			return run(ctx, inv.Streams, opts)
		},
	}
}
