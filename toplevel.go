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
func runWithoutApplet(ctx context.Context, argv []string, list []applets.Applet, streams applets.Streams) error {
	program, args := splitCommandLine(argv)
	switch {
	case len(args) == 0:
		fmt.Fprint(streams.Err, help.FormatOverview(program, list))
		return &applets.ExitError{Code: applets.ExitUsage}
	case slices.Contains(args, "--help"), slices.Contains(args, "-h"):
		fmt.Fprint(streams.Out, help.FormatOverview(program, list))
		return nil
	case slices.Contains(args, "--version"):
		return runCommandLine(ctx, []string{argv[0], "version"}, streams)
	case slices.Contains(args, "--list"):
		for _, a := range list {
			fmt.Fprintln(streams.Out, a.Name)
		}
		return nil
	}

	return hintAtHelp(applets.Usage("no command in %q", args), program)
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

// withWriteFailure returns the result of a run whose stdout could not be written: that it could
// not, unless the run failed for another reason. An exit code of the user's own command remains.
func withWriteFailure(err, failure error) error {
	var exit *applets.ExitError
	switch {
	case failure == nil:
		return err
	case errors.As(err, &exit) && exit.Err == nil && !isReaderGone(failure):
		return &applets.ExitError{Code: exit.Code, Err: failure}
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, failure):
		return failure
	}
	return err
}

// isReaderGone reports whether err is that a standard stream has no reader any more. Other programs
// die of SIGPIPE then, and say nothing.
func isReaderGone(err error) bool {
	var failure *applets.WriteError
	return errors.As(err, &failure) && isBrokenPipe(failure)
}
