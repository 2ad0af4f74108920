// Package shell is the applet that gives a shell in a container, one without
// a shell of its own too.
package shell

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/programs"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/laptop/streamrelay"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag shell".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "shell",
		Summary:   "Get a shell in any container, even a scratch or distroless one",
		ArgsUsage: "[POD | TYPE/NAME | node/NAME] [-l selector] [-c container] [flags] [-- command args | -- ash options]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		RestKind:  applets.KindText,
		Examples: `
			kubectl kdiag shell deploy/web                        # an interactive shell
			kubectl kdiag shell web -- ls /app                    # one command, with its exit code
			kubectl kdiag shell -n prod -l app=db -- -c 'ps; ls'  # a line of shell
			kubectl kdiag shell --copy deploy/web                 # a copy of a pod that crashes
		`,
		Description: `
			The shell is busybox ash and comes with its own tools, so the container needs none.
			It runs in an ephemeral container that joins the target: no pod restarts, and nothing
			is written to the target. That container exits when it has been idle for a while. If
			several pods match, kdiag picks a ready one. The exit code is the shell's.
		`,
		Flags: slices.Concat(inputFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "as-target", Usage: "Run the shell with the application's uid, gids and capabilities"},
			&cli.BoolFlag{Name: "keep-capabilities", Usage: "Keep capabilities that are needed only to join the container"},
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "target-env", Usage: "Use the container's value of variable `NAME` (or all), such as PATH, although it affects the shell"}),
			applets.Takes(applets.KindFile, &cli.StringSliceFlag{Name: "with", Usage: "Bring static program `FILE` along, by its name, in memory; may be repeated"}),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print notes"},
		}, temporaryFlags(), kubeflags.ShellFlags()),
		Run: runApplet,
	}
}

// options are the applet's own flags.
type options struct {
	asTarget bool
	// keepCapabilities leaves the shell those that only the join needs.
	keepCapabilities bool
	// targetEnv names variables to take from the target though the shell acts on them.
	targetEnv []string
	// quiet silences the launcher's notes, too.
	quiet bool
	// terminal says whether the shell gets one.
	terminal terminalWish
	args     []string
	// programs are those that the user brings along.
	programs []programs.File
}

// checkFlags finds flags that make no sense together, and names that are none.
func checkFlags(inv *applets.Invocation) error {
	if inv.Flags.Bool("as-target") && inv.Flags.Bool("keep-capabilities") {
		return applets.Usage("--as-target and --keep-capabilities can't be combined: --as-target uses the application's capabilities")
	}
	for _, name := range inv.Flags.StringSlice("target-env") {
		if name == "" || strings.ContainsAny(name, "= ") {
			return applets.Usage("--target-env must be a variable name or all, got %q", name)
		}
	}
	return nil
}

func runApplet(ctx context.Context, inv *applets.Invocation) error {
	if isTemporary(inv) {
		return runTemporary(ctx, inv)
	}

	request, err := kubeflags.ParseShell(inv)
	if err != nil && len(inv.Args) > 1 {
		return applets.WithHint(err, "put a command, or arguments for the shell itself, after --")
	}
	if err != nil {
		return err
	}
	if err := checkFlags(inv); err != nil {
		return err
	}
	brought, err := readPrograms(inv)
	if err != nil {
		return err
	}
	request.ExtraMemory = programs.TotalSize(brought)
	if err := refuseTemporaryFlags(inv); err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, kubeflags.WithoutWarnings(inv))
	if err != nil {
		return err
	}
	cluster.DialAhead()

	streams := inv.Streams
	if withoutStdin(inv) {
		streams = emptyInput(streams)
	}

	return runShell(ctx, cluster, request, parseOptions(inv, brought), streams)
}

// parseOptions reads the applet's own flags. brought are the programs of --with.
func parseOptions(inv *applets.Invocation, brought []programs.File) options {
	return options{
		asTarget: inv.Flags.Bool("as-target"), args: ashArguments(inv.Rest),
		keepCapabilities: inv.Flags.Bool("keep-capabilities"), targetEnv: inv.Flags.StringSlice("target-env"),
		quiet: inv.Flags.Bool("quiet"), terminal: parseTerminalWish(inv), programs: brought,
	}
}

// runShell has a shell container run and runs one shell in it.
func runShell(ctx context.Context, cluster containers.API, request containers.Request, o options, streams applets.Streams) error {
	line := statusline.New(streams.Err)
	defer line.End()
	messages := containers.MessagesAbove(line, o.quiet)

	handle := containers.NewShell(cluster, request, messages)
	notePrograms(handle, o.programs)
	input := newReplayedInput(readKeys(streams, o))
	use := func(ctx context.Context, container kube.Injected) error {
		line.Clear()
		if note := containers.ProfileNote(handle.Target(), container); note != "" {
			handle.Note(note)
		}

		session, err := newShellSession(handle, input, o)
		if err != nil {
			return err
		}

		loaded, err := session.bring(ctx, o.programs, line)
		if err != nil {
			return err
		}
		defer loaded.Release()

		return session.run(ctx, streams)
	}

	// A command that may have run must not run twice.
	var notStarted *kube.NotStartedError
	var noProcess *containers.NoProcessError
	err := handle.Use(ctx, use, func(err error) bool {
		return input.mayBegin() && (errors.As(err, &notStarted) || errors.As(err, &noProcess))
	})
	if errors.As(err, &noProcess) {
		_, _ = io.WriteString(streams.Err, noProcess.Said)
	}

	var exit *kube.CommandExitError
	var older *containers.OlderImageError
	switch {
	case errors.Is(err, streamrelay.ErrHungUp):
		return &applets.ExitError{Code: applets.ExitSIGHUP}
	case errors.As(err, &older):
		return older
	case errors.As(err, &exit):
		return explainExit(ctx, handle, exit)
	case err != nil && ctx.Err() == nil && !errors.As(err, &notStarted) && handle.HasEnded(ctx):
		return applets.WithHint(err, "its container has exited; run the command again, and kdiag starts a new one")
	}

	return err
}
