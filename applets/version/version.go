// Package version implements "kdiag version", which prints the version of kdiag, and
// on request those of the cluster and of the user's managers in a pod.
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

// Info holds what "version -o json" prints.
type Info struct {
	Client ClientInfo `json:"client"`
	// Cluster is nil if it was not asked for.
	Cluster *ClusterInfo `json:"cluster,omitempty"`
	// Namespace and Pod name the target; they are empty without one.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// Managers lists this user's managers in the pod; it is nil without a pod.
	Managers []ManagerInfo `json:"managers,omitempty"`
}

// ClientInfo describes this binary.
type ClientInfo struct {
	Version  string `json:"version"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
	// Image is the default image to run in pods.
	Image string `json:"image"`
}

// Applet declares "kdiag version".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "version",
		Summary:   "Print the version of kdiag and the image that it runs in pods",
		ArgsUsage: "[POD | TYPE/NAME] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag version                      # this binary; contacts no cluster
			kubectl kdiag version -o json deploy/web   # also the cluster, and your containers in the pod
		`,
		Flags: slices.Concat([]cli.Flag{
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format; json also asks the cluster", Value: "text"}, "text", "json"),
			&cli.BoolFlag{Name: "cluster-version", Usage: "Also print the version of the cluster"},
		}, kubeflags.LookFlags()),
		Run: printVersion,
	}
}

func printVersion(ctx context.Context, inv *applets.Invocation) error {
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
