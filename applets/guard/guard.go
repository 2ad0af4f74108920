// Package guard is the applet that "redir" starts beside itself on the laptop: it ends the sessions of
// a redir that was killed.
package guard

import (
	"context"
	"io"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/guard"
	"kdiag/kube"
)

// Applet declares "kdiag guard".
func Applet() applets.Applet {
	return applets.Applet{
		Name:    guard.AppletName,
		Summary: "On this machine: end the sessions of a kdiag that was killed",
		Args:    []applets.Kind{applets.KindNone},
		Hidden:  true,
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) > 0 {
				return applets.Usage("unexpected argument %q", inv.Args[0])
			}
			return guard.Watch(ctx, inv.In, func(o kube.ConnectOptions) (containers.Forwarder, error) {
				return kube.Connect(o, io.Discard)
			})
		},
	}
}
