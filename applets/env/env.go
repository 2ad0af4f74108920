// Package env implements "kdiag env", which shows the environment of a container's first process,
// even of a container without any tools.
package env

import (
	"context"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag env".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "env",
		Summary:   "Show the environment of a container's process",
		ArgsUsage: "[POD | TYPE/NAME] [-l selector] [-c container] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag env deploy/web                     # variables, and where they come from
			kubectl kdiag env web -o dotenv --show > .env    # for a program on your machine
		`,
		Description: `
			Reads the environment that the container's first process was started with from an ephemeral
			container beside it, the same one that shell uses. The target needs no tools. Values that
			look secret or come from a Secret are masked unless you use --show.
		`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "show", Usage: "Show secret values, too"},
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: formatText},
				formatText, formatJSON, formatDotenv, formatShell),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print notes"},
		}, kubeflags.ShellFlags()...),
		Run: runEnv,
	}
}

// The output formats.
const (
	formatText   = "text"
	formatJSON   = "json"
	formatDotenv = "dotenv"
	formatShell  = "shell"
)

// options holds the flags that do not concern the container of kdiag.
type options struct {
	show, quiet bool
	output      string
}

func runEnv(ctx context.Context, inv *applets.Invocation) error {
	request, err := kubeflags.ParseShell(inv)
	if err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, kubeflags.WithoutWarnings(inv))
	if err != nil {
		return err
	}
	cluster.DialAhead()

	o := options{show: inv.Flags.Bool("show"), quiet: inv.Flags.Bool("quiet"), output: inv.Flags.String("output")}
	return o.showEnvironment(ctx, cluster, request, inv.Streams)
}

// showEnvironment reads the environment of the container and prints it.
func (o options) showEnvironment(ctx context.Context, cluster containers.API, request containers.Request, streams applets.Streams) error {
	line := statusline.New(streams.Err)
	defer line.End()
	messages := containers.MessagesAbove(line, o.quiet)

	shell := containers.NewShell(cluster, request, messages)
	return inspection.ReadEnvironment(ctx, shell, func(injected kube.Injected, taken wire.Environment) error {
		line.End()
		d := newDocument(shell.Target(), injected, taken)
		if !o.show {
			d.maskSecrets()
		}
		return o.writeDocument(d, streams)
	})
}

// writeDocument prints a document in the format that was asked for, and its notes on stderr.
func (o options) writeDocument(d document, streams applets.Streams) error {
	notes := d.notes()
	var err error
	switch o.output {
	case formatJSON:
		err = applets.WriteJSON(streams.Out, d, "  ")
	case formatText:
		err = writeTable(streams.Out, d)
	default:
		var left []string
		left, err = writeAssignments(streams.Out, d, o.output)
		notes = append(notes, left...)
	}

	for _, note := range notes {
		if !o.quiet {
			applets.Note(streams.Err, "%s", note)
		}
	}

	return err
}
