// Package shell is the applet that gives a shell in a container, one without
// a shell of its own too.
package shell

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Applet is "kdiag shell".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "shell",
		Summary:   "Get a shell in any container, even a scratch or distroless one",
		ArgsUsage: "[POD | TYPE/NAME] [-l selector] [-c container] [flags] [-- ash arguments]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		RestKind:  applets.KindText,
		Examples: `
			kubectl kdiag shell deploy/web                        # an interactive shell
			kubectl kdiag shell -n prod -l app=db -- -c 'ps; ls'  # one command, with its exit code
		`,
		Description: `
			The shell is busybox ash and comes with its own tools, so the container needs none.
			It runs in an ephemeral container that joins the target: no pod restarts, and nothing
			is written to the target. That container exits when it has been idle for a while. If
			several pods match, kdiag picks a ready one. The exit code is the shell's.
		`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "as-target", Usage: "Run the shell with the application's uid, gids and capabilities"},
			&cli.BoolFlag{Name: "keep-capabilities", Usage: "Keep capabilities that are needed only to join the container"},
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "target-env", Usage: "Also take variable `NAME` (or all) from the container when it affects the shell, such as PATH"}),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print notes"},
		}, kubeflags.ShellFlags()...),
		Run: run,
	}
}

// options are what run needs beside the request for the container.
type options struct {
	asTarget bool
	// keepCapabilities leaves the shell those that only the join needs.
	keepCapabilities bool
	// targetEnv names variables to take from the target though the shell acts on them.
	targetEnv []string
	// quiet silences the launcher's notes, too.
	quiet   bool
	args    []string
	timeout time.Duration
	notes   io.Writer
}

// checkFlags finds flags that make no sense together, and names that are none.
func checkFlags(inv *applets.Invocation) error {
	if inv.Flags.Bool("as-target") && inv.Flags.Bool("keep-capabilities") {
		return applets.Usage("either --as-target or --keep-capabilities: with the first the shell has the application's")
	}
	for _, name := range inv.Flags.StringSlice("target-env") {
		if name == "" || strings.ContainsAny(name, "= ") {
			return applets.Usage("--target-env=%s: a variable's name, or all", name)
		}
	}
	return nil
}

func run(ctx context.Context, inv *applets.Invocation) error {
	request, err := kubeflags.ParseShell(inv)
	if err != nil && len(inv.Args) > 1 {
		return applets.WithHint(err, "what is for the shell itself stands after --")
	}
	if err != nil {
		return err
	}
	if err := checkFlags(inv); err != nil {
		return err
	}

	request.Cluster.DialAhead()

	o := options{
		asTarget: inv.Flags.Bool("as-target"), args: inv.Rest,
		keepCapabilities: inv.Flags.Bool("keep-capabilities"), targetEnv: inv.Flags.StringSlice("target-env"),
		timeout: inv.Flags.Duration("timeout"), notes: inv.Err, quiet: inv.Flags.Bool("quiet"),
	}
	if o.quiet {
		o.notes = io.Discard
	}

	err = o.shell(ctx, request, inv.Streams)
	var notStarted *kube.NotStartedError
	var exit *kube.ExitError
	switch {
	case err == nil, ctx.Err() != nil:
		return err
	case errors.As(err, &exit):
		return &applets.ExitError{Code: exit.Code}
	case !request.Ended(ctx):
		return err
	case !errors.As(err, &notStarted):
		// It may have run, so it is not for us to run it twice.
		return applets.WithHint(err, "the container it ran in has ended; run it again, and a new one is started")
	}

	// The container ended between our look at it and the exec, as an idle one
	// does. It is replaced.
	err = o.shell(ctx, request, inv.Streams)
	if errors.As(err, &exit) {
		return &applets.ExitError{Code: exit.Code}
	}

	return err
}

// shell has a container run and runs one shell in it.
func (o options) shell(ctx context.Context, request *kubeflags.Shell, streams applets.Streams) error {
	injected, err := o.ensure(ctx, request, streams)
	if err != nil {
		return err
	}
	if note := kubeflags.ProfileNote(request.Target, injected); note != "" {
		applets.Note(o.notes, "%s", note)
	}

	session, err := newSession(request, injected, o)
	if err != nil {
		return err
	}

	return session.run(ctx, streams)
}

func (o options) ensure(ctx context.Context, request *kubeflags.Shell, streams applets.Streams) (kube.Injected, error) {
	ctx, cancel := kube.WithTimeout(ctx, o.timeout)
	defer cancel()
	line := statusline.New(streams.Err)
	defer line.End()
	request.Progress = line.Show
	return request.Ensure(ctx, o.notes)
}
