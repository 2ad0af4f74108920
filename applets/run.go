package applets

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Execute parses line with a's flags and runs a. path is how the user came to
// it, as in "kdiag image".
func Execute(ctx context.Context, a Applet, path string, line []string, build Build, streams Streams) error {
	path += " " + a.Name
	if len(a.Applets) > 0 {
		return executeSub(ctx, a, path, line, build, streams)
	}
	if wantsHelp(a.Flags, line) {
		fmt.Fprint(streams.Out, help(a, path))
		return nil
	}
	sorted, err := arrange(a.Flags, line)
	if err != nil {
		return seeHelp(err, path)
	}
	app := &cli.App{
		Name:                      a.Name,
		Flags:                     a.Flags,
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    io.Discard,
		ErrWriter:                 io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return seeHelp(&ExitError{Code: ExitUsage, Err: err}, path)
		},
		Action: func(c *cli.Context) error {
			err := a.Run(ctx, &Invocation{
				Streams: streams, Build: build, Flags: c,
				Args: c.Args().Slice(), Rest: sorted.rest,
			})
			if ExitCode(err) == ExitUsage && !Silent(err) {
				err = seeHelp(err, path)
			}
			return err
		},
	}
	words := append([]string{a.Name}, sorted.flags...)
	words = append(append(words, "--"), sorted.args...)
	return app.RunContext(ctx, words)
}

func executeSub(ctx context.Context, a Applet, path string, line []string, build Build, streams Streams) error {
	var flags []cli.Flag
	for _, sub := range a.Applets {
		flags = append(flags, sub.Flags...)
	}
	name, left := SplitName(flags, line)
	if name == "" || name == "help" {
		if name == "" && !wantsHelp(flags, line) {
			return seeHelp(Usage("%s: name one of its commands: %s", path, subNames(a)), path)
		}
		fmt.Fprint(streams.Out, help(a, path))
		return nil
	}
	for _, sub := range a.Applets {
		if sub.Name == name {
			return Execute(ctx, sub, path, left, build, streams)
		}
	}
	return seeHelp(Usage("%s has no command %q; it has %s", path, name, subNames(a)), path)
}

func subNames(a Applet) string {
	names := make([]string, 0, len(a.Applets))
	for _, sub := range a.Applets {
		names = append(names, sub.Name)
	}
	return strings.Join(names, ", ")
}

func seeHelp(err error, path string) error {
	return WithHint(err, "%s --help", path)
}

// wantsHelp reports whether -h or --help stands among the flags, before "--".
// It steps over flags' values, so that "-n --help" is a namespace.
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
