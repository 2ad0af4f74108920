package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kdiag/applets"
	"kdiag/applets/help"
)

// runWithoutApplet answers a command line that names no applet.
func runWithoutApplet(argv []string, list []applets.Applet, streams applets.Streams) int {
	program, args := splitCommandLine(argv)
	switch {
	case len(args) == 0:
		fmt.Fprint(streams.Err, help.FormatOverview(program, list))
		return applets.ExitUsage
	case slices.Contains(args, "--help"), slices.Contains(args, "-h"):
		fmt.Fprint(streams.Out, help.FormatOverview(program, list))
		return 0
	case slices.Contains(args, "--version"):
		return run([]string{argv[0], "version"}, streams.In, streams.Out, streams.Err)
	case slices.Contains(args, "--list"):
		for _, a := range list {
			fmt.Fprintln(streams.Out, a.Name)
		}
		return 0
	}

	err := hintAtHelp(applets.Usage("no command in %q", args), program)
	return reportResult(context.Background(), err, streams.Err)
}

func hintAtHelp(err error, program string) error {
	return applets.WithHint(err, "run '%s --help' for a list of commands", program)
}

// reportResult prints why a run failed, with its hints, and returns the exit code. An
// exit code without a message is that of the user's own command, and
// remains even if a signal ended the run, because that command got the signal, too.
func reportResult(ctx context.Context, err error, stderr io.Writer) int {
	var caught *signalError
	if err != nil && !applets.IsSilent(err) && errors.As(context.Cause(ctx), &caught) {
		return caught.exitCode()
	}
	if err == nil || applets.IsSilent(err) {
		return applets.ExitCode(err)
	}

	applets.PrintError(stderr, err)
	return applets.ExitCode(err)
}
