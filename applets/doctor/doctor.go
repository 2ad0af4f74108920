// Package doctor implements "kdiag doctor", which checks on this machine, in the
// cluster and in a pod whether the other commands can work. It changes nothing.
package doctor

import (
	"context"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/userkey"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// defaultTimeout bounds all checks together.
const defaultTimeout = 20 * time.Second

// Applet declares "kdiag doctor".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "doctor",
		Summary:   "Check whether the other commands can work, and what is missing",
		ArgsUsage: "[POD | TYPE/NAME] [-l selector] [-c container] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag doctor                      # kubeconfig, cluster and your rights
			kubectl kdiag doctor -n prod deploy/web   # also this pod and its node
		`,
		Description: `
			Prints one line for each check: ✓ passed, ✗ failed, – skipped or unknown. Changes nothing:
			a dry run shows what the cluster would admit. The exit code is 1 if a check failed.
		`,
		Flags: slices.Concat([]cli.Flag{
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: "text"}, "text", "json"),
		}, kubeflags.PreviewFlags(defaultTimeout)),
		Run: runDoctor,
	}
}

func runDoctor(ctx context.Context, inv *applets.Invocation) error {
	out := newCheckPrinter(inv.Flags.String("output"), inv.Out)
	e := examination{hasTarget: kubeflags.HasTarget(inv)}

	var err error
	if e.request, err = kubeflags.ParsePreview(inv); err != nil {
		return err
	}

	bounded, cancel := kube.WithTimeout(ctx, e.request.Timeout)
	defer cancel()

	// The first check reports a configuration that is wrong.
	if e.user, err = userkey.PublicHalf(bounded); err == nil {
		e.cluster, err = kubeflags.Connect(bounded, inv)
	}

	allPassed := true
	target := runChecks(bounded, e, err, func(check Check) {
		// A check that Ctrl-C cut short has no meaning.
		if ctx.Err() == nil {
			out.printCheck(check)
			allPassed = allPassed && check.Status != Failed
		}
	})

	if ctx.Err() != nil {
		return ctx.Err()
	}

	if err := out.finish(target); err != nil {
		return err
	}
	if !allPassed {
		return errSomeFailed
	}

	return nil
}
