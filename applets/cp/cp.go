// Package cp implements "kdiag cp", which copies files and directories between the laptop and a
// container, even one without tar or a shell.
package cp

import (
	"context"
	"slices"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/kubeflags"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag cp".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "cp",
		Summary:   "Copy files to and from any container, without tar",
		ArgsUsage: "SRC DST [-l selector] [-c container] [flags]",
		Args:      []applets.Kind{applets.KindCopied, applets.KindCopied, applets.KindNone},
		Examples: `
			kubectl kdiag cp deploy/web:/tmp/heap.hprof .          # a file from a container
			kubectl kdiag cp ./conf web:/data --as-target          # a directory to a container
			kubectl kdiag cp web:/var/log/app.log - | grep ERROR   # a file to stdout
		`,
		Description: `
			One of SRC and DST is POD:PATH, TYPE/NAME:PATH or NAMESPACE/POD:PATH (with -l, :PATH), the
			other a local path or -, for stdin or stdout. As with cp -r, what is copied goes into
			DST if that is a directory, else gets that name; SRC/. stands for what is in SRC.
		`,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "as-target", Usage: "Read or write as the application's user"},
			&cli.BoolFlag{Name: "preserve", Aliases: []string{"p"}, Usage: "Keep owners, and the setuid and setgid bits"},
			&cli.BoolFlag{Name: "resume", Usage: "Go on where a copy broke off"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print notes and progress"},
		}, kubeflags.ShellFlags()),
		Run: runApplet,
	}
}

func runApplet(ctx context.Context, inv *applets.Invocation) error {
	c, err := parseLine(inv)
	if err != nil {
		return err
	}
	target := *inv
	target.Args = c.remote.targetWords()
	request, err := kubeflags.ParseShell(&target)
	if err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, kubeflags.WithoutWarnings(inv))
	if err != nil {
		return err
	}
	cluster.DialAhead()
	return c.runCopy(ctx, cluster, request, inv.Streams)
}

// copyOptions says what is copied, and how.
type copyOptions struct {
	// local is a path, or - for stdin or stdout.
	local  string
	remote remotePath
	// upload says that the local path is the source.
	upload                            bool
	asTarget, preserve, resume, quiet bool
}

// runCopy has a shell container run, and copies.
func (c copyOptions) runCopy(ctx context.Context, cluster containers.API, request containers.Request, streams applets.Streams) error {
	line := statusline.New(streams.Err)
	defer line.End()
	messages := containers.MessagesAbove(line, c.quiet)

	run := &transfer{
		copyOptions: c, streams: streams, line: line,
		shell: containers.NewShell(cluster, request, messages),
	}
	return run.shell.Use(ctx, run.use, func(error) bool { return !run.begun })
}
