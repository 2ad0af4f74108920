// Package manager is the applet that kdiag's ephemeral containers run. A shell manager waits,
// small and without rights, while shells are exec'd beside it; a net manager redirects the pod's
// connections for its user. It ends when there has been nothing to do for a while.
package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/mux/wire"
)

// Applet returns "kdiag manager".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletManager,
		Summary:     "In the pod: wait beside the target while shells are in use, or redirect connections",
		ArgsUsage:   "[flags]",
		Description: wire.ManagerUsage(),
		Hidden:      true,
		Raw:         true,
		First:       lockdown.CloseProcess,
		Args:        []applets.Kind{applets.KindNone},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseManagerArguments(inv.Args)
			if err != nil {
				return applets.Usage("%w", err)
			}
			if err := checkArguments(arguments); err != nil {
				return &applets.UsageError{Err: err}
			}

			return run(ctx, inv.Streams, options{
				role: arguments.Role, user: arguments.User, version: inv.Build.Version, idleTimeout: arguments.IdleTimeout,
			})
		},
	}
}

// options holds the arguments that a manager acts on. The others are there for the laptop to read.
type options struct {
	// role is wire.RoleShell, wire.RoleNet or wire.RoleCapture.
	role string
	// user is the public key of the user that a net manager serves.
	user string
	// version is this binary's.
	version string
	// idleTimeout is how long the manager stays with nothing to do.
	idleTimeout time.Duration
}

// maxCarried bounds the arguments that are there for the laptop, in bytes. A DNS name has 253
// characters at most, a public key 43.
const maxCarried = 512

// checkArguments refuses what no kdiag on a laptop asks for.
func checkArguments(a wire.ManagerArguments) error {
	for _, value := range []string{a.Target, a.User, string(a.Profile), a.Version, a.Reason} {
		if len(value) > maxCarried {
			return fmt.Errorf("an argument has %d bytes; the limit is %d", len(value), maxCarried)
		}
	}

	switch {
	case !slices.Contains([]string{wire.RoleShell, wire.RoleNet, wire.RoleCapture}, a.Role):
		return fmt.Errorf("--role=%s: must be %s, %s or %s", a.Role, wire.RoleShell, wire.RoleNet, wire.RoleCapture)
	case a.Role == wire.RoleNet && a.User == "":
		return errors.New("--role=net needs --user")
	case a.IdleTimeout <= 0:
		return fmt.Errorf("--idle-timeout=%s: must be longer than 0", a.IdleTimeout)
	}

	return nil
}
