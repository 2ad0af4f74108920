// Package doctor is the applet that looks for what would keep the other
// commands from working: on this machine, in the cluster and in a pod. It
// changes nothing.
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

// Applet is "kdiag doctor".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "doctor",
		Summary:   "Check what the other commands need, and say what is missing",
		ArgsUsage: "[POD | TYPE/NAME] [-l selector] [-c container] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag doctor                      # the kubeconfig, the cluster, your rights
			kubectl kdiag doctor -n prod deploy/web   # and what this pod and its node admit
		`,
		Description: `
			One line for each check: ✓ it is well, ✗ it is not, – it does not apply, or cannot
			be known from here. Nothing is changed: what would be admitted is asked by dry run.
			Exit code: 1 if a check failed.
		`,
		Flags: slices.Concat([]cli.Flag{
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Lines, or one document", Value: "text"}, "text", "json"),
		}, kubeflags.PreviewFlags(defaultTimeout)),
		Run: runDoctor,
	}
}

func runDoctor(ctx context.Context, inv *applets.Invocation) error {
	if len(inv.Rest) > 0 {
		return applets.Usage("doctor runs no command, got %q", inv.Rest)
	}

	out := newCheckPrinter(inv.Flags.String("output"), inv.Out)
	e := examination{hasTarget: kubeflags.HasTarget(inv)}
	var err error
	if e.request, err = kubeflags.ParsePreview(inv); err != nil {
		return err
	}

	// What is wrong with the configuration is the first check's to tell.
	if e.user, err = userkey.PublicHalf(); err == nil {
		e.cluster, err = kubeflags.Connect(inv)
	}

	bounded, cancel := kube.WithTimeout(ctx, e.request.Timeout)
	defer cancel()
	well := true
	runChecks(bounded, e, err, func(check Check) {
		// What the user's Ctrl-C ended says nothing.
		if ctx.Err() == nil {
			out.printCheck(check)
			well = well && check.Status != Failed
		}
	})

	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := out.finish(); err != nil {
		return err
	}
	if !well {
		return errSomeFailed
	}

	return nil
}
