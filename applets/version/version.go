// Package version is the applet that says which kdiag this is, and, where it is
// asked to, which cluster and which managers it has to do with.
package version

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// Info is what "version -o json" prints.
type Info struct {
	Client ClientInfo `json:"client"`
	// Cluster is nil where it was not asked for.
	Cluster *ClusterInfo `json:"cluster,omitempty"`
	// Managers are this user's in the pod; nil where no pod is named.
	Managers []ManagerInfo `json:"managers,omitempty"`
}

// ClientInfo is the binary itself.
type ClientInfo struct {
	Version  string `json:"version"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
	// Image is what this binary runs in pods when no other is named.
	Image string `json:"image"`
}

// Applet is "kdiag version".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "version",
		Summary:   "Say which kdiag this is and which image it runs in pods",
		ArgsUsage: "[POD | TYPE/NAME] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag version                      # this binary; nothing is asked
			kubectl kdiag version -o json deploy/web   # the cluster too, and your managers in the pod
		`,
		Flags: slices.Concat([]cli.Flag{
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "A line, or a document, for which the cluster is asked", Value: "text"}, "text", "json"),
			&cli.BoolFlag{Name: "cluster-version", Usage: "Ask the cluster for its version"},
		}, kubeflags.LookFlags()),
		Run: printVersion,
	}
}

func printVersion(ctx context.Context, inv *applets.Invocation) error {
	if len(inv.Rest) > 0 {
		return applets.Usage("version runs no command, got %q", inv.Rest)
	}

	format := inv.Flags.String("output")
	info := Info{Client: ClientInfo{
		Version:  inv.Build.Version,
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
		Image:    inv.Build.Image,
	}}

	var target kube.Selection
	var err error
	if kubeflags.HasTarget(inv) {
		if target, _, err = kubeflags.ParseTarget(inv, inv.Args); err != nil {
			return err
		}
	}

	if format == "json" || inv.Flags.Bool("cluster-version") || kubeflags.HasTarget(inv) {
		err = info.askCluster(ctx, inv, target)
	}

	if printErr := info.printTo(inv.Out, format); printErr != nil {
		return printErr
	}

	return err
}

func (i Info) printTo(out io.Writer, format string) error {
	if format == "json" {
		return applets.WriteJSON(out, i, "  ")
	}

	_, err := fmt.Fprintf(out, "kdiag %s %s (%s), image %s\n", i.Client.Version, i.Client.Platform, i.Client.Go, i.Client.Image)
	switch {
	case i.Cluster == nil:
	case i.Cluster.Error != "":
		fmt.Fprintf(out, "cluster: %s\n", wire.Printable(i.Cluster.Error))
	default:
		fmt.Fprintf(out, "cluster %s at %s\n", wire.Printable(i.Cluster.Version), wire.Printable(i.Cluster.Server))
	}

	for _, m := range i.Managers {
		fmt.Fprintf(out, "manager %s\n", wire.Printable(m.String()))
	}

	return err
}
