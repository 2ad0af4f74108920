// Package inspect is the applet that looks at a target's processes and their sockets from the
// ephemeral container beside it, and prints what it sees. It only reads.
package inspect

import (
	"context"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/mux/wire"
)

// Applet returns "kdiag inspect".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletInspect,
		Summary:     "In the pod: print a container's processes and sockets as JSON",
		ArgsUsage:   "[flags]",
		Description: wire.InspectUsage(),
		Args:        []applets.Kind{applets.KindNone},
		Hidden:      true,
		Raw:         true,
		First:       lockdown.CloseProcess,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseInspectArguments(inv.Args)
			if err != nil {
				return applets.Usage("%w", err)
			}
			if arguments.Interval < 0 {
				return applets.Usage("--interval %s must not be negative", arguments.Interval)
			}
			if arguments.Environment && (arguments.Connected || arguments.Interval > 0) {
				return applets.Usage("--environment can't be combined with --connected or --interval")
			}

			opts := options{
				target:      arguments.Target,
				environment: arguments.Environment,
				connected:   arguments.Connected,
				interval:    arguments.Interval,
			}
			if err := podproc.CheckTarget(opts.target); err != nil {
				return &applets.UsageError{Err: err}
			}

			return run(ctx, inv.Streams, opts)
		},
	}
}

// options says what to look at.
type options struct {
	target wire.TargetArguments
	// environment prints the first process's environment, and no snapshot.
	environment bool
	// connected adds the sockets that are connected.
	connected bool
	// interval is the time from one snapshot to the next, 0 for a single one.
	interval time.Duration
}
