// Package redir is the applet that brings a pod's connections to the laptop:
// incoming ones to a program here in place of the application, outgoing ones
// in place of where they were going.
package redir

import (
	"context"
	"time"

	"kdiag/applets"
	"kdiag/applets/kubeflags"

	"github.com/urfave/cli/v2"
)

// Applet is "kdiag redir".
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
			&cli.DurationFlag{Name: "drain", Usage: "How long open connections may continue after Ctrl-C", Value: 10 * time.Second},
			applets.OneOf(&cli.StringFlag{Name: "proxy-protocol", Usage: "Start each local connection with a PROXY protocol header"}, "v2"),
			applets.OneOf(&cli.StringFlag{Name: "netfilter", Usage: "Redirect with", Value: "auto"}, "auto", "nft", "iptables"),
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Output format", Value: "text"}, "text", "json"),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "Don't print a line for each connection"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "Also print a line when a connection opens"},
		}, kubeflags.NetFlags()...),
		Run: run,
	}
}

// options are the applet's own flags.
type options struct {
	specs         []spec
	takeOver      bool
	drain         time.Duration
	proxyProtocol bool
	backend       string
	timeout       time.Duration
}

func run(ctx context.Context, inv *applets.Invocation) error {
	if len(inv.Rest) > 0 {
		return applets.Usage("redir runs no command, got %q", inv.Rest)
	}

	names, ports, err := split(inv)
	if err != nil {
		return err
	}

	o, err := parseOptions(inv, ports)
	if err != nil {
		return err
	}

	report, err := newReport(inv)
	if err != nil {
		return err
	}

	net, err := kubeflags.ParseNet(inv, names)
	if err != nil {
		return err
	}
	if net.Container != "" && len(o.specs) > 0 {
		return applets.Usage("-c %s is for every port of that container; a port that is named is the pod's", net.Container)
	}

	notice := net.Notice
	net.Notice = func(text string) { report.line.Above(func() { notice(text) }) }
	net.Cluster.DialAhead()
	defer report.end()
	link, err := connect(ctx, net, o, report)
	if err != nil {
		return err
	}
	defer link.close()

	return link.redirect(ctx)
}

// split tells the target from the ports: it is the first argument, unless a
// flag names it.
func split(inv *applets.Invocation) (names, ports []string, err error) {
	if inv.Flags.String("selector") != "" || inv.Flags.String("pod") != "" || len(inv.Args) == 0 {
		return nil, inv.Args, nil
	}
	if _, err := parseIncoming(inv.Args[0]); err == nil {
		return nil, nil, applets.WithHint(applets.Usage("%s is a port: the pod comes before it", inv.Args[0]),
			"pod/%s, if that is a pod's name", inv.Args[0])
	}
	return inv.Args[:1], inv.Args[1:], nil
}

func parseOptions(inv *applets.Invocation, ports []string) (options, error) {
	o := options{
		takeOver: inv.Flags.Bool("take-over"), drain: inv.Flags.Duration("drain"),
		backend: inv.Flags.String("netfilter"), timeout: inv.Flags.Duration("timeout"),
		proxyProtocol: inv.Flags.IsSet("proxy-protocol"),
	}
	var err error
	if o.specs, err = parseSpecs(ports, inv.Flags.StringSlice("outgoing")); err != nil {
		return o, applets.Usage("%w", err)
	}
	if o.drain < 0 {
		return o, applets.Usage("--drain %s is less than nothing", o.drain)
	}

	return o, nil
}

func newReport(inv *applets.Invocation) (*report, error) {
	quiet, verbose := inv.Flags.Bool("quiet"), inv.Flags.Bool("verbose")
	if quiet && verbose {
		return nil, applets.Usage("either --quiet or --verbose")
	}

	level := levelConnections
	switch {
	case quiet:
		level = levelQuiet
	case verbose:
		level = levelAll
	}

	write := writeText
	if inv.Flags.String("output") == "json" {
		write = writeJSON
	}

	return startReport(inv.Streams, level, write), nil
}
