// Package hold is the applet that a copied or a node's pod runs in place of an application: it waits,
// as the first process of its container must, until the pod is deleted or its time is over. In a
// container before the others it brings the program into a volume.
package hold

import (
	"context"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/mux/wire"
)

// Applet returns "kdiag hold".
func Applet() applets.Applet {
	return applets.Applet{
		Name:        wire.AppletHold,
		Summary:     "In a pod that kdiag made: wait in place of the application",
		ArgsUsage:   "[flags] [-- the application's command]",
		Description: wire.HoldUsage(),
		Hidden:      true,
		Raw:         true,
		First:       lockdown.CloseProcess,
		Args:        []applets.Kind{applets.KindNone},
		RestKind:    applets.KindText,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			arguments, err := wire.ParseHoldArguments(inv.Args)
			if err != nil {
				return applets.Usage("%w", err)
			}

			switch {
			case arguments.Install != "":
				return installProgram(arguments.Install)
			case arguments.End:
				return endHold()
			case arguments.Deadline <= 0:
				return applets.Usage("--deadline=%s: must be longer than 0", arguments.Deadline)
			}
			return waitForEnd(ctx, arguments.Deadline)
		},
	}
}
