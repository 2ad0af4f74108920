// Package logs implements "kdiag logs", which follows the logs of many pods, alone
// or while a command runs.
package logs

import (
	"context"
	"slices"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag logs".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "logs",
		Summary:   "Follow the logs of many pods, alone or while a command runs",
		ArgsUsage: "[POD[:CONTAINER] | TYPE/NAME ...] [-l selector] [-a] [flags] [-- command args]",
		Args:      []applets.Kind{applets.KindTarget},
		RestKind:  applets.KindCommand,
		Examples: `
			kubectl kdiag logs deploy/web sts/db                                # until Ctrl-C
			kubectl kdiag logs -l app=web --fail-on 'ERROR|panic' -- make e2e   # while the tests run
		`,
		Description: `
			Follows logs from now on, or from earlier with --tail or --since. Includes pods that start
			later and containers that restart; a stream that breaks loses or repeats no line. With a
			command, it stops when the command has ended and no line has come for --drain-duration,
			and exits with the command's code; log lines go to stderr unless stdout is a terminal.
			Without a command, the first match of --fail-on ends it. --until and --for end a running
			command by SIGTERM.
		`,
		Flags: allFlags(),
		Run:   runLogs,
	}
}

// The categories of less common flags. Each has a help topic of the same name.
const (
	sourcesCategory = "log-sources"
	linesCategory   = "log-lines"
)

func allFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		applets.Takes(applets.KindSelector, &cli.StringSliceFlag{Name: "selector", Aliases: []string{"l", "labels"}, Usage: "Select pods by label, or SELECTOR:CONTAINER; may be repeated"}),
		&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "Select all pods in the namespace"},
		applets.Takes(applets.KindContainer, &cli.StringSliceFlag{Name: "container", Aliases: []string{"c"}, Usage: "Container; may be repeated", DefaultText: "the annotated one, else all"}),
		&cli.Int64Flag{Name: "tail", Usage: "Start with the last `LINES` lines; -1 for all"},
		&cli.DurationFlag{Name: "since", Usage: "Start with lines from the last `DURATION`, such as 5m"},
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "include", Usage: "Show only lines that match `REGEX`; may be repeated"}),
		applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: "text"}, "text", "json", "raw"),
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "fail-on", Usage: "Exit with code 3 if any line matches `REGEX`"}),
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "until", Usage: "Stop when a line matches `REGEX`"}),
		&cli.DurationFlag{Name: "for", Usage: "Stop after `DURATION`; fails if --until hasn't matched by then"},
		applets.Takes(applets.KindTarget, &cli.StringFlag{Name: "exit-code-from", Usage: "Stop when `JOB` has ended; exit with 0 only if it succeeded"}),
		&cli.DurationFlag{Name: "drain-duration", Aliases: []string{"d"}, Usage: "After the command, wait for `DURATION` without lines", Value: defaultDrain},
	}, sourceFlags(), lineFlags(), kubeflags.ManyNamespaces())
}

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindPod, &cli.StringSliceFlag{Name: "pod", Category: sourcesCategory, Usage: "Select `POD`, TYPE/NAME or POD:CONTAINER; may be repeated"}),
		&cli.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Category: sourcesCategory, Usage: "Select pods in all namespaces, all pods unless -l selects some"},
		&cli.BoolFlag{Name: "all-containers", Category: sourcesCategory, Usage: "Follow all containers; =false follows the first", DefaultText: ""},
		&cli.BoolFlag{Name: "init-containers", Category: sourcesCategory, Usage: "Include init containers when following all; =false excludes them", Value: true},
		&cli.BoolFlag{Name: "ephemeral-containers", Category: sourcesCategory, Usage: "Include ephemeral containers, except kdiag's; =false excludes them", Value: true},
		&cli.BoolFlag{Name: "follow", Category: sourcesCategory, Aliases: []string{"f"}, Usage: "Keep following; =false prints existing lines and exits", Value: true},
		&cli.BoolFlag{Name: "previous", Category: sourcesCategory, Aliases: []string{"p"}, Usage: "Print the logs of each container's previous instance and exit"},
		&cli.IntFlag{Name: "max-streams", Category: sourcesCategory, Usage: "Maximum `NUMBER` of logs open at once; if there are more, they take turns", Value: defaultStreams},
		&cli.DurationFlag{Name: "drain-max", Category: sourcesCategory, Usage: "Maximum `DURATION` to wait for lines after the command", Value: defaultDrainMax},
		&cli.DurationFlag{Name: "timeout", Category: sourcesCategory, Usage: "Maximum time to wait before following starts", Value: kube.DefaultTimeout},
	}
}

func lineFlags() []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "exclude", Category: linesCategory, Usage: "Hide lines that match `REGEX`; may be repeated"}),
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "highlight", Category: linesCategory, Usage: "Highlight text that matches `REGEX`; may be repeated"}),
		&cli.BoolFlag{Name: "timestamps", Category: linesCategory, Usage: "Show the time of each line"},
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "template", Category: linesCategory, Usage: "Go template with .Time .Namespace .Pod .Container .Node .Line and a json function"}),
		applets.OneOf(&cli.StringFlag{Name: "color", Category: linesCategory, Usage: "Colour the output", Value: "auto"}, "auto", "always", "never"),
		applets.Takes(applets.KindFile, &cli.StringFlag{Name: "logs-to", Category: linesCategory, Usage: "Write log lines to `FILE`"}),
		&cli.BoolFlag{Name: "quiet", Category: linesCategory, Aliases: []string{"q"}, Usage: "Don't print notes"},
	}
}

func runLogs(ctx context.Context, inv *applets.Invocation) error {
	o, err := parseOptions(inv)
	if err != nil {
		return err
	}
	cluster, err := kubeflags.Connect(ctx, kubeflags.WithoutWarnings(inv))
	if err != nil {
		return err
	}
	return o.followLogs(ctx, cluster, inv.Streams)
}
