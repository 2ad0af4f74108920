package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// topLevel answers a line that names no applet, or "help [COMMAND]".
func topLevel(argv []string, name string, list []applets.Applet, streams applets.Streams) int {
	called, line := calledAs(argv)
	again := func(line ...string) int {
		return run(append([]string{argv[0]}, line...), streams.In, streams.Out, streams.Err)
	}
	if len(line) == 0 {
		fmt.Fprint(streams.Err, usage(called, list))
		return applets.ExitUsage
	}
	if name == "help" {
		if at := slices.Index(line, "help"); at+1 < len(line) {
			return again(line[at+1], "--help")
		}
	}
	switch {
	case name == "help", slices.Contains(line, "--help"), slices.Contains(line, "-h"):
		fmt.Fprint(streams.Out, usage(called, list))
		return 0
	case slices.Contains(line, "--version"):
		return again("version")
	case slices.Contains(line, "--list"):
		for _, a := range list {
			fmt.Fprintln(streams.Out, a.Name)
		}
		return 0
	}
	err := applets.WithHint(applets.Usage("no command in %q", line), "%s --help lists the commands", called)
	return finish(context.Background(), err, streams.Err)
}

func usage(called string, list []applets.Applet) string {
	return "Kdiag gets you into running pods: nothing is installed, no pod restarts, nothing stays behind.\n\n" +
		"Usage:\n  " + called + " COMMAND [flags] [-- arguments]\n\n" +
		"Commands:\n" + applets.Summaries(list) + "\n" +
		called + " COMMAND --help tells about one.\n"
}

// allFlags are the flags of every applet: what may stand before the name.
func allFlags(list []applets.Applet) []cli.Flag {
	var flags []cli.Flag
	for _, a := range list {
		flags = append(flags, a.Flags...)
		flags = append(flags, allFlags(a.Applets)...)
	}
	return flags
}

// finish prints why a run failed, one line and its hints, and returns the
// process's exit code.
func finish(ctx context.Context, err error, stderr io.Writer) int {
	var caught *signalError
	if err != nil && errors.As(context.Cause(ctx), &caught) {
		return caught.exitCode()
	}
	if err == nil || applets.Silent(err) {
		return applets.ExitCode(err)
	}
	fmt.Fprintf(stderr, "kdiag: %v\n", err)
	for _, hint := range applets.Hints(err) {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return applets.ExitCode(err)
}
