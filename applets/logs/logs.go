// Package logs is the applet that follows the logs of many pods, on its own or
// while a command runs.
package logs

import (
	"context"
	"slices"

	"kdiag/applets"
	"kdiag/applets/kubeflags"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Applet is "kdiag logs".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "logs",
		Summary:   "Follow many pods' logs, on their own or while a command runs",
		ArgsUsage: "[TYPE/NAME | POD[:CONTAINER] ...] [-l selector[:container] ...] [-a] [flags] [-- command args]",
		Args:      []applets.Kind{applets.KindTarget},
		RestKind:  applets.KindCommand,
		Examples: `
			kubectl kdiag logs deploy/web sts/db                                # until Ctrl-C
			kubectl kdiag logs -l app=web --fail-on 'ERROR|panic' -- make e2e   # while the tests run
		`,
		Description: `
			It follows from now on (--tail, --since: from earlier), with pods that come later and
			containers that restart, no line lost or doubled. With a command: once it has ended, logs are
			read until none has come for --drain-duration; the exit code is the command's. Log lines then
			go to stderr where stdout is no terminal. Without one --fail-on ends it at once. --until and
			--for end it: a command that still runs gets SIGTERM and is waited for.
		`,
		Flags: allFlags(),
		Run:   runLogs,
	}
}

// The categories of the flags that are less in use; each is a topic of help.
const (
	sourcesCategory = "log-sources"
	linesCategory   = "log-lines"
)

func allFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		applets.Takes(applets.KindSelector, &cli.StringSliceFlag{Name: "selector", Aliases: []string{"l", "labels"}, Usage: "Pods by label, or SELECTOR:CONTAINER; may be repeated"}),
		&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "All pods of the namespace"},
		applets.Takes(applets.KindContainer, &cli.StringSliceFlag{Name: "container", Aliases: []string{"c"}, Usage: "Container; may be repeated. Default: the annotation's, else all"}),
		&cli.Int64Flag{Name: "tail", Usage: "Begin with so many of the last `LINES`; -1 for all"},
		&cli.DurationFlag{Name: "since", Usage: "Begin with what is not older than a `DURATION`, as 5m"},
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "include", Usage: "Only lines that match the `REGEX`; may be repeated"}),
		applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Lines with their origin, or alone", Value: "text"}, "text", "json", "raw"),
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "fail-on", Usage: "Exit code 3 if any line matches the `REGEX`"}),
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "until", Usage: "End when a line matches the `REGEX`"}),
		&cli.DurationFlag{Name: "for", Usage: "End after a `DURATION`; a failure if --until has not matched by then"},
		&cli.DurationFlag{Name: "drain-duration", Aliases: []string{"d"}, Usage: "After the command: until no line has come for so long", Value: defaultDrain},
	}, sourceFlags(), lineFlags(), kubeflags.Connection())
}

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindPod, &cli.StringSliceFlag{Name: "pod", Category: sourcesCategory, Usage: "POD, TYPE/NAME or POD:CONTAINER; may be repeated"}),
		&cli.BoolFlag{Name: "all-containers", Category: sourcesCategory, Usage: "All containers; with =false the first", DefaultText: ""},
		&cli.BoolFlag{Name: "init-containers", Category: sourcesCategory, Usage: "Where all are meant, init containers too; =false for not", Value: true},
		&cli.BoolFlag{Name: "ephemeral-containers", Category: sourcesCategory, Usage: "Likewise ephemeral ones, without kdiag's own; =false for not", Value: true},
		&cli.BoolFlag{Name: "follow", Category: sourcesCategory, Aliases: []string{"f"}, Usage: "With =false: what there is, and end", Value: true},
		&cli.BoolFlag{Name: "previous", Category: sourcesCategory, Aliases: []string{"p"}, Usage: "The instance before the present one, and end"},
		&cli.IntFlag{Name: "max-streams", Category: sourcesCategory, Usage: "Logs open at once, a `NUMBER`; more than that are read in turns", Value: defaultStreams},
		&cli.DurationFlag{Name: "drain-max", Category: sourcesCategory, Usage: "Bound on that wait in all, a `DURATION`", Value: defaultDrainMax},
		&cli.DurationFlag{Name: "timeout", Category: sourcesCategory, Usage: "Bound on everything before it follows", Value: kube.DefaultTimeout},
	}
}

func lineFlags() []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "exclude", Category: linesCategory, Usage: "No lines that match the `REGEX`; may be repeated"}),
		applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "highlight", Category: linesCategory, Usage: "Mark what matches the `REGEX`; may be repeated"}),
		&cli.BoolFlag{Name: "timestamps", Category: linesCategory, Usage: "Each line's time"},
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "template", Category: linesCategory, Usage: "Go template: .Time .Namespace .Pod .Container .Node .Line, and json"}),
		applets.OneOf(&cli.StringFlag{Name: "color", Category: linesCategory, Usage: "Colours, a pod's always the same", Value: "auto"}, "auto", "always", "never"),
		applets.Takes(applets.KindFile, &cli.StringFlag{Name: "logs-to", Category: linesCategory, Usage: "`FILE` for the log lines"}),
		&cli.BoolFlag{Name: "quiet", Category: linesCategory, Aliases: []string{"q"}, Usage: "No notes"},
	}
}

func runLogs(ctx context.Context, inv *applets.Invocation) error {
	o, err := parseOptions(inv)
	if err != nil {
		return err
	}
	cluster, err := kubeflags.Connect(inv)
	if err != nil {
		return err
	}
	return o.followLogs(ctx, cluster, inv.Streams)
}
