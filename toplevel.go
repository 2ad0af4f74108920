package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kdiag/applets"
	"kdiag/applets/help"
	"kdiag/mux/wire"
)

// topLevel answers a line that names no applet.
func topLevel(argv []string, list []applets.Applet, streams applets.Streams) int {
	called, line := calledAs(argv)
	switch {
	case len(line) == 0:
		fmt.Fprint(streams.Err, help.FormatOverview(called, list))
		return applets.ExitUsage
	case slices.Contains(line, "--help"), slices.Contains(line, "-h"):
		fmt.Fprint(streams.Out, help.FormatOverview(called, list))
		return 0
	case slices.Contains(line, "--version"):
		return run([]string{argv[0], "version"}, streams.In, streams.Out, streams.Err)
	case slices.Contains(line, "--list"):
		for _, a := range list {
			fmt.Fprintln(streams.Out, a.Name)
		}
		return 0
	}

	err := applets.WithHint(applets.Usage("no command in %q", line), "%s --help lists the commands", called)
	return finish(context.Background(), err, streams.Err)
}

// finish prints why a run failed, one line and its hints, and returns the
// process's exit code. Errors and hints quote the cluster, the pod and
// registries: here they all become printable. A code without a message is a command's own; it stands
// even where a signal ended the run, which the command was sent, too.
func finish(ctx context.Context, err error, stderr io.Writer) int {
	var caught *signalError
	if err != nil && !applets.IsSilent(err) && errors.As(context.Cause(ctx), &caught) {
		return caught.exitCode()
	}
	if err == nil || applets.IsSilent(err) {
		return applets.ExitCode(err)
	}

	fmt.Fprintf(stderr, "kdiag: %s\n", wire.Printable(err.Error()))
	for _, hint := range applets.Hints(err) {
		fmt.Fprintf(stderr, "hint: %s\n", wire.Printable(hint))
	}

	return applets.ExitCode(err)
}
