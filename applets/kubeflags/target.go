package kubeflags

import (
	"kdiag/applets"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Target lists the flags that ParseTarget reads; container says what -c is for.
func Target(container string) []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindSelector, &cli.StringFlag{Name: "selector", Aliases: []string{"l", "labels"}, Usage: "Select the pod by label instead of by name"}),
		applets.Takes(applets.KindContainer, &cli.StringFlag{Name: "container", Aliases: []string{"c", "target"}, Usage: container}),
		applets.Takes(applets.KindPod, &cli.StringFlag{Name: "pod", Usage: "Pod name, instead of the argument", Hidden: true}),
	}
}

// HasTarget reports whether the line names a target, rightly or not.
func HasTarget(inv *applets.Invocation) bool {
	return len(inv.Args) > 0 || inv.Flags.String("pod") != "" || inv.Flags.String("selector") != ""
}

// ParseTarget reads which pod and container are meant; names are the arguments
// that may name the pod. The container is empty for the pod's default. Every
// error is a wrong usage.
func ParseTarget(inv *applets.Invocation, names []string) (pod kube.Selection, container string, err error) {
	if named := inv.Flags.String("pod"); named != "" {
		names = append([]string{named}, names...)
	}
	if len(names) > 1 {
		return pod, "", applets.Usage("name only one target, got %q", names)
	}

	target := ""
	if len(names) == 1 {
		target = names[0]
	}

	pod, err = kube.ParseSelection(target, inv.Flags.String("selector"))
	if err != nil {
		return pod, "", applets.Usage("%w", err)
	}

	return pod, inv.Flags.String("container"), nil
}
