package applets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Execute parses line with a's flags and runs a. path is what the user typed before
// a's name, as in "kdiag image".
func Execute(ctx context.Context, a Applet, path string, line []string, build Build, streams Streams) error {
	path += " " + a.Name
	if len(a.Applets) > 0 {
		return executeSubcommand(ctx, a, path, line, build, streams)
	}

	if a.First != nil {
		if err := a.First(); err != nil {
			return err
		}
	}

	if a.Raw && a.Description != "" && len(line) == 1 && wantsHelp(nil, line) {
		fmt.Fprint(streams.Out, FormatHelp(a, path))
		return nil
	}
	if a.Raw {
		return a.Run(ctx, &Invocation{Streams: streams, Build: build, Path: path, Args: line})
	}

	if wantsHelp(a.Flags, line) {
		fmt.Fprint(streams.Out, FormatHelp(a, path))
		return nil
	}

	sorted, err := sortLine(a.Flags, line)
	if err == nil && a.RestKind == KindUndeclared && len(sorted.rest) > 0 {
		err = Usage("unexpected arguments after --: %s", strings.Join(sorted.rest, " "))
	}
	if err != nil {
		return seeHelp(err, path)
	}

	inv := &Invocation{Streams: streams, Build: build, Path: path, Args: sorted.args, Rest: sorted.rest}
	if inv.Flags, err = parseFlags(ctx, a.Name, a.Flags, sorted.flags); err == nil {
		err = checkFixed(inv.Flags, a.Flags)
	}
	if err == nil {
		err = a.Run(ctx, inv)
	}
	var usage *UsageError
	if errors.As(err, &usage) {
		err = seeHelp(err, path)
	}

	return err
}

// parseFlags parses flags that are one word each.
func parseFlags(ctx context.Context, name string, flags []cli.Flag, words []string) (*cli.Context, error) {
	var parsed *cli.Context
	app := &cli.App{
		Name:                      name,
		Flags:                     flags,
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    io.Discard,
		ErrWriter:                 io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return &UsageError{err}
		},
		Action: func(c *cli.Context) error { parsed = c; return nil },
	}

	line := append(append([]string{name}, words...), "--")
	return parsed, app.RunContext(ctx, line)
}

func executeSubcommand(ctx context.Context, a Applet, path string, line []string, build Build, streams Streams) error {
	name, left := SplitApplet(a.Applets, line)
	if name == "" || name == "help" {
		if name == "" && !wantsHelp(AllFlags(a.Applets), line) {
			return seeHelp(Usage("%s needs a command: %s", path, subNames(a)), path)
		}
		fmt.Fprint(streams.Out, FormatHelp(a, path))
		return nil
	}

	for _, sub := range a.Applets {
		if sub.Name == name {
			return Execute(ctx, sub, path, left, build, streams)
		}
	}

	err := Usage("unknown command %q for %q: must be %s", name, path, subNames(a))
	return seeHelp(DidYouMean(err, name, VisibleNames(a.Applets)), path)
}

func subNames(a Applet) string {
	return JoinChoices(VisibleNames(a.Applets))
}

// seeHelp adds the hint to read the help of a command.
func seeHelp(err error, path string) error {
	return WithHint(err, "run '%s --help' for usage", path)
}

// wantsHelp reports whether -h or --help stands before "--". It skips the values of
// flags, so that "-n --help" names a namespace.
func wantsHelp(flags []cli.Flag, line []string) bool {
	known := flagsByName(flags)
	for i := 0; i < len(line) && line[i] != "--"; i++ {
		if line[i] == "-h" || line[i] == "--help" {
			return true
		}
		if flag, ok := known[strings.TrimLeft(line[i], "-")]; ok && strings.HasPrefix(line[i], "-") && takesValue(flag) {
			i++
		}
	}
	return false
}
