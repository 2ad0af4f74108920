// Package ps implements "kdiag ps", which shows the processes and sockets of a
// container, even of one without any tools.
package ps

import (
	"context"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag ps".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "ps",
		Summary:   "Show the processes and sockets of a container",
		ArgsUsage: "[POD | TYPE/NAME] [-l selector] [-c container] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindNone},
		Examples: `
			kubectl kdiag ps deploy/web                    # processes and listening sockets
			kubectl kdiag ps -n prod -l app=db --sockets   # also connections, and the pods behind them
		`,
		Description: `
			Looks at the target from an ephemeral container beside it, the same one that shell uses.
			The target needs no tools, and nothing in it changes. A note says what cannot be seen.
		`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "sockets", Usage: "Also show connected sockets"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "Refresh until Ctrl-C"},
			&cli.DurationFlag{Name: "interval", Usage: "Time between refreshes, with --watch", Value: 2 * time.Second},
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: "text"}, "text", "wide", "json"),
		}, kubeflags.ShellFlags()...),
		Run: runPs,
	}
}

// psCluster has the methods of a *kube.Cluster that the applet needs.
type psCluster interface {
	containers.API
	peerFinder
}

// options holds the flags that do not concern the container of kdiag.
type options struct {
	sockets, watch bool
	interval       time.Duration
	output         string
}

func runPs(ctx context.Context, inv *applets.Invocation) error {
	o, err := parseOptions(inv)
	if err != nil {
		return err
	}
	request, err := kubeflags.ParseShell(inv)
	if err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, inv)
	if err != nil {
		return err
	}
	cluster.DialAhead()

	return o.showContainer(ctx, cluster, request, inv.Streams)
}

func parseOptions(inv *applets.Invocation) (options, error) {
	f := inv.Flags
	o := options{
		sockets: f.Bool("sockets"), watch: f.Bool("watch"), interval: f.Duration("interval"),
		output: f.String("output"),
	}
	switch {
	case f.IsSet("interval") && !o.watch:
		return o, applets.Usage("--interval needs --watch")
	case o.interval < minInterval:
		return o, applets.Usage("--interval must be at least %s, got %s", minInterval, o.interval)
	}

	return o, nil
}

// minInterval bounds --interval, since each refresh costs the pod some CPU time.
const minInterval = 100 * time.Millisecond

// showContainer shows the container, once or until ctx ends.
func (o options) showContainer(ctx context.Context, cluster psCluster, request containers.Request, streams applets.Streams) error {
	line := statusline.New(streams.Err)
	defer line.End()
	messages := containers.MessagesAbove(line, false)
	shell := containers.NewShell(cluster, request, messages)
	look := inspection.Query{Connected: o.sockets}
	if o.watch {
		look.Interval = o.interval
	}

	known := newPeerResolver(cluster)
	if o.sockets {
		known.startQuery(ctx)
	}

	view := o.newView(streams)
	err := inspection.Inspect(ctx, shell, look, func(injected kube.Injected, taken wire.Snapshot) error {
		d := newDocument(shell.Target(), injected, taken)
		var notes []string
		if o.sockets {
			notes = d.addConnected(ctx, taken, known)
		}
		line.End()
		return view.showDocument(d, append(notes, d.limitNotes()...))
	})

	view.leaveCursorBelow()
	if o.watch && ctx.Err() != nil && view.hasShown() {
		return nil
	}

	return err
}
