// Package files is the applet that reads or writes a target's files from the ephemeral container
// beside it, for "kdiag cp" on the laptop. It executes nothing of the target, and opens nothing
// outside the target's root.
package files

import (
	"context"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/mux/wire"
)

// Applet returns "kdiag files".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletFiles,
		Summary:     "In the pod: copy a container's files to or from the laptop",
		ArgsUsage:   "[flags]",
		Description: wire.FilesUsage(),
		Args:        []applets.Kind{applets.KindNone},
		Hidden:      true,
		Raw:         true,
		First:       lockdown.CloseProcess,
		Run: func(_ context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseFilesArguments(inv.Args)
			if err != nil {
				return applets.Usage("%w", err)
			}
			if err := podproc.CheckTarget(arguments.Target); err != nil {
				return &applets.UsageError{Err: err}
			}
			return run(inv.Streams, arguments)
		},
	}
}
