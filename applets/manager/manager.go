// Package manager is the applet that an ephemeral container of kdiag's runs:
// as a shell manager it waits, small and without rights, while shells are
// exec'd beside it; as a net manager it redirects the pod's connections for its
// user. It ends when there has been nothing to do for a while.
package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/mux"

	"github.com/urfave/cli/v2"
)

// Options are a manager's.
type Options struct {
	// Role is mux.RoleShell or mux.RoleNet.
	Role string
	// User is the public key of the user that a net manager serves.
	User string
	// Version is this binary's.
	Version string
	// IdleTimeout is how long it stays with nothing to do.
	IdleTimeout time.Duration
}

// Applet is "kdiag manager".
func Applet() applets.Applet {
	return applets.Applet{
		Name:    "manager",
		Summary: "In the pod: wait beside the target while shells are in use, or redirect connections",
		Hidden:  true,
		First:   lockdown.Close,
		Args:    []applets.Kind{applets.KindNone},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "role", Usage: "what the container is for: shell or net"},
			&cli.DurationFlag{Name: "idle-timeout", Usage: "how long it stays when nothing is in use", Value: 10 * time.Minute},
			// Read by kdiag on the laptop, in the container's arguments.
			&cli.StringFlag{Name: "target", Usage: "container that this one is for"},
			&cli.StringFlag{Name: "user", Usage: "public key of the user whose container this is"},
			&cli.StringFlag{Name: "profile", Usage: "profile by which the container was added"},
			&cli.StringFlag{Name: "version", Usage: "version of kdiag that added the container"},
			&cli.StringFlag{Name: "reason", Usage: "what the user added the container for"},
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args)+len(inv.Rest) > 0 {
				return applets.Usage("manager takes no arguments, got %q", append(inv.Args, inv.Rest...))
			}

			for _, name := range []string{"target", "user", "profile", "version", "reason"} {
				if length := len(inv.Flags.String(name)); length > maxCarried {
					return applets.Usage("--%s has %d characters, of %d at most", name, length, maxCarried)
				}
			}

			opts := Options{
				Role:        inv.Flags.String("role"),
				User:        inv.Flags.String("user"),
				Version:     inv.Build.Version,
				IdleTimeout: inv.Flags.Duration("idle-timeout"),
			}
			if err := opts.check(); err != nil {
				return &applets.ExitError{Code: applets.ExitUsage, Err: err}
			}

			return run(ctx, inv.Streams, opts)
		},
	}
}

// maxCarried bounds the flags that are only carried. A DNS name has 253
// characters at most, a public key 44.
const maxCarried = 512

func (o Options) check() error {
	if o.Role != mux.RoleShell && o.Role != mux.RoleNet {
		return fmt.Errorf("--role=%s: the roles are: %s, %s", o.Role, mux.RoleShell, mux.RoleNet)
	}
	if o.Role == mux.RoleNet && o.User == "" {
		return errors.New("--role=net serves the one user whose key is --user")
	}
	if o.IdleTimeout <= 0 {
		return fmt.Errorf("--idle-timeout=%s is not more than nothing", o.IdleTimeout)
	}
	return nil
}
