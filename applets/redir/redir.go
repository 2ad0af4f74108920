// Package redir is the applet that brings a pod's connections to the laptop:
// incoming ones to a program here in place of the application, outgoing ones
// in place of where they were going.
package redir

import (
	"context"
	"os"
	"os/user"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/guard"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag redir".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "redir",
		Summary:   "Redirect a pod's incoming or outgoing connections to your machine",
		ArgsUsage: "[POD | TYPE/NAME] [PORT[:[HOST:]LOCALPORT] ...] [--outgoing SPEC] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindPort},
		Examples: `
			kubectl kdiag redir deploy/web 8080:3000                    # port 8080 goes to localhost:3000
			kubectl kdiag redir deploy/web --outgoing db.prod.svc:5432  # database calls go to localhost:5432
		`,
		Description: `
			Redirects new connections until Ctrl-C. Established connections stay with the application,
			and no pod restarts. Without PORT or --outgoing, every port that a process in the pod (with
			-c: in that container) listens on goes to the same port on your machine. SPEC is
			PORT[:[HOST:]LOCALPORT] for any destination, or HOST:PORT[=[HOST:]LOCALPORT] for one.
		`,
		Flags: append([]cli.Flag{
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "outgoing", Usage: "Redirect outgoing connections that match `SPEC`; may be repeated"}),
			&cli.BoolFlag{Name: "take-over", Usage: "Close established connections so that clients reconnect"},
			&cli.BoolFlag{Name: "all", Usage: "Redirect every pod of TYPE/NAME or the selector"},
			&cli.BoolFlag{Name: "follow", Usage: "When the pod goes, redirect the next one", Value: true},
			&cli.DurationFlag{Name: "drain", Usage: "How long open connections may continue after Ctrl-C", Value: 10 * time.Second},
			&cli.DurationFlag{Name: "grace", Usage: "How long open connections wait when the connection to the pod is lost", Value: time.Minute},
			applets.OneOf(&cli.StringFlag{Name: "on-disconnect", Usage: "Meanwhile new connections reach the application (after 10s), wait, or are reset", Value: wire.OnDisconnectApp},
				wire.OnDisconnectApp, wire.OnDisconnectHold, wire.OnDisconnectReset),
			applets.OneOf(&cli.StringFlag{Name: "probes", Usage: "Where the pod's health probes go: to the application, or to your machine", Value: probesToApp},
				probesToApp, probesToLocal),
			applets.OneOf(&cli.StringFlag{Name: "proxy-protocol", Usage: "Start each local connection with a PROXY protocol header"}, "v2"),
			applets.OneOf(&cli.StringFlag{Name: "netfilter", Usage: "Redirect with", Value: "auto"}, "auto", "nft", "iptables"),
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: "text"}, "text", "json"),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print a line for each connection"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "Also print a line when a connection opens"},
		}, kubeflags.NetFlags()...),
		Run: runRedir,
	}
}

// options are the applet's own flags.
type options struct {
	redirects     []redirectclient.Spec
	takeOver      bool
	drain         time.Duration
	grace         time.Duration
	onDisconnect  string
	localProbes   bool
	proxyProtocol bool
	guard         *guard.Guard // ends sessions if this process is killed
	backend       string
	output        string
	detail        detail
	// all redirects every pod of the target, and follow the next one when one goes.
	all, follow bool
}

// checkFollow refuses --all and --follow where they make no sense.
func (o options) checkFollow(inv *applets.Invocation, target kube.Selection) error {
	named := target.Kind == "pods" && target.Name != ""
	switch {
	case o.all && named:
		return applets.Usage("--all needs TYPE/NAME or -l SELECTOR, not a pod's name")
	case o.all && !o.follow:
		return applets.Usage("--all and --follow=false can't be combined")
	case named && o.follow && inv.Flags.IsSet("follow"):
		return applets.Usage("--follow needs TYPE/NAME or -l SELECTOR, not a pod's name")
	}
	return nil
}

func runRedir(ctx context.Context, inv *applets.Invocation) error {
	names, ports, err := splitArguments(inv)
	if err != nil {
		return err
	}

	o, err := parseOptions(inv, ports)
	if err != nil {
		return err
	}

	request, err := kubeflags.ParseNet(inv, names)
	if err != nil {
		return err
	}
	if err := o.checkFollow(inv, request.Pod); err != nil {
		return err
	}
	if request.Container != "" && len(o.redirects) > 0 {
		return applets.Usage("-c %s redirects every port of that container: leave it out to name ports", request.Container)
	}

	cluster, err := kubeflags.Connect(ctx, inv)
	if err != nil {
		return err
	}
	cluster.DialAhead()

	o.guard = guard.New(kubeflags.Options(inv))
	defer o.guard.Close()
	return redirectTarget(ctx, cluster, request, o, inv.Streams)
}

// redirectTarget redirects the connections of a target's pod or pods until ctx ends, or there is
// nothing to redirect any more.
func redirectTarget(ctx context.Context, c cluster, request containers.Request, o options, streams applets.Streams) error {
	show := o.newDisplay(streams)
	defer show.queue.finish(ctx, stuckTime, show.counters.stop)
	return newFollower(c, request, o, show).run(ctx)
}

// clientConfig returns what all pods' clients have in common.
func (o options) clientConfig(request containers.Request) redirectclient.Config {
	return redirectclient.Config{
		Version: request.Version, Holder: holderName(),
		TakeOver: o.takeOver, Backend: o.backend, ProxyProtocol: o.proxyProtocol,
		Timeout: request.Timeout, Drain: o.drain, Grace: o.grace, OnDisconnect: o.onDisconnect,
		LocalProbes: o.localProbes,
	}
}

// holderName says who redirects, for others in the same pod to be told:
// USER@HOST.
func holderName() string {
	name := "unknown"
	if who, err := user.Current(); err == nil {
		name = who.Username
	}

	host, err := os.Hostname()
	if err != nil {
		return name
	}

	return name + "@" + host
}

// splitArguments tells the target from the ports: it is the first argument, unless a
// flag names it.
func splitArguments(inv *applets.Invocation) (names, ports []string, err error) {
	if inv.Flags.String("selector") != "" || inv.Flags.String("pod") != "" || len(inv.Args) == 0 {
		return nil, inv.Args, nil
	}
	if s, err := parseIncoming(inv.Args[0]); err == nil && (s.Port != 0 || s.Local != "") {
		return nil, nil, applets.WithHint(applets.Usage("%s is a port; name the pod before it", inv.Args[0]),
			"if it is the name of a pod, write pod/%s", inv.Args[0])
	}
	return inv.Args[:1], inv.Args[1:], nil
}

// These bound --grace.
const minGrace, maxGrace = time.Second, time.Hour

func parseOptions(inv *applets.Invocation, ports []string) (options, error) {
	o := options{
		takeOver: inv.Flags.Bool("take-over"), drain: inv.Flags.Duration("drain"),
		backend: inv.Flags.String("netfilter"), output: inv.Flags.String("output"),
		proxyProtocol: inv.Flags.IsSet("proxy-protocol"), localProbes: inv.Flags.String("probes") == probesToLocal,
		all: inv.Flags.Bool("all"), follow: inv.Flags.Bool("follow"),
		grace: inv.Flags.Duration("grace"), onDisconnect: inv.Flags.String("on-disconnect"),
	}
	var err error
	if o.redirects, err = parseSpecs(ports, inv.Flags.StringSlice("outgoing")); err != nil {
		return o, applets.Usage("%w", err)
	}
	if o.drain < 0 {
		return o, applets.Usage("--drain must not be negative, got %s", o.drain)
	}
	if o.grace < minGrace || o.grace > maxGrace {
		return o, applets.Usage("--grace must be between 1s and 1h, got %s", o.grace)
	}

	quiet, verbose := inv.Flags.Bool("quiet"), inv.Flags.Bool("verbose")
	switch {
	case quiet && verbose:
		return o, applets.Usage("--quiet and --verbose can't be combined")
	case quiet:
		o.detail = detailRedirects
	case verbose:
		o.detail = detailAll
	}

	return o, nil
}
