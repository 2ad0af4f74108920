// Package capture implements "kdiag capture", which captures the packets of a pod's network: to a
// file, to another program, or as a line each.
package capture

import (
	"context"
	"errors"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/packetfilter"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// Applet declares "kdiag capture".
func Applet() applets.Applet {
	return applets.Applet{
		Name:      "capture",
		Summary:   "Capture a pod's packets, for Wireshark or as text",
		ArgsUsage: "[POD | TYPE/NAME] [filter] [-l selector] [-w file] [flags]",
		Args:      []applets.Kind{applets.KindTarget, applets.KindText},
		Examples: `
			kubectl kdiag capture deploy/web tcp port 8080 -w web.pcapng     # until Ctrl-C
			kubectl kdiag capture deploy/web --all 'not arp' --wireshark       # every pod, in Wireshark
		`,
		Description: `
			Captures from all interfaces of the pod, in a container that has NET_RAW and nothing else.
			The filter is in tcpdump's language (pcap-filter(7); docs/capture.md lists what is left
			out). Without -w it prints a line for each packet. Ends at Ctrl-C, and then says how many
			packets were captured, and how many the kernel dropped because they were not read in time.
		`,
		Flags: append([]cli.Flag{
			applets.Takes(applets.KindFile, &cli.StringFlag{Name: "write", Aliases: []string{"w"}, Usage: "Write packets to `FILE`, as pcapng; - for stdout"}),
			&cli.Uint64Flag{Name: "count", Aliases: []string{"c"}, Usage: "Stop after `COUNT` packets"},
			&cli.DurationFlag{Name: "for", Usage: "Stop after `DURATION`"},
			&cli.UintFlag{Name: "snaplen", Usage: "Capture at most `BYTES` of each packet", Value: wire.MaxSnapLen},
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "interface", Aliases: []string{"i"}, Usage: "Capture only from `INTERFACE` of the pod"}),
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "file-size", Aliases: []string{"C"}, Usage: "Begin another file after `SIZE` million bytes; 10m is 10 MiB"}),
			&cli.UintFlag{Name: "files", Aliases: []string{"W"}, Usage: "With -C, keep `NUMBER` files and overwrite the oldest"},
			&cli.BoolFlag{Name: "all", Usage: "Capture from every pod of TYPE/NAME or the selector"},
			&cli.BoolFlag{Name: "processes", Usage: "Comment packets with their process; adds a shell container"},
			&cli.BoolFlag{Name: "names", Usage: "As text, show names of pods and Services for addresses"},
			&cli.BoolFlag{Name: "wireshark", Usage: "Show packets in Wireshark; closing it ends the capture"},
		}, kubeflags.CaptureFlags()...),
		Run: runCapture,
	}
}

// options are the applet's own flags.
type options struct {
	query
	// count is how many packets to capture, 0 for no limit; most is how long to capture.
	count uint64
	most  time.Duration
	// file names where to write packets: "-" for stdout, empty for text.
	file string
	// fileSize begins another file when one has more bytes, fileCount is how many to keep. 0 is for
	// no limit.
	fileSize  int64
	fileCount uint
	shown
}

func runCapture(ctx context.Context, inv *applets.Invocation) error {
	names, expression := splitArguments(inv)
	o, err := parseOptions(inv, expression)
	if err != nil {
		return err
	}
	request, err := kubeflags.ParseNet(inv, names)
	if err != nil {
		return err
	}

	if err := o.checkAll(request.Pod); err != nil {
		return err
	}

	cluster, err := kubeflags.Connect(ctx, inv)
	if err != nil {
		return err
	}
	cluster.DialAhead()
	return o.captureTarget(ctx, cluster, request, inv.Streams)
}

// splitArguments returns the arguments that name the pod, and those that are the filter.
func splitArguments(inv *applets.Invocation) (names []string, expression string) {
	words := inv.Args
	if inv.Flags.String("selector") == "" && inv.Flags.String("pod") == "" && len(words) > 0 {
		names, words = words[:1], words[1:]
	}
	return names, strings.Join(append(words[:len(words):len(words)], inv.Rest...), " ")
}

func parseOptions(inv *applets.Invocation, expression string) (options, error) {
	f := inv.Flags
	o := options{
		count: f.Uint64("count"), most: f.Duration("for"), file: f.String("write"), fileCount: f.Uint("files"),
	}
	snapLen := f.Uint("snaplen")

	switch {
	case f.IsSet("count") && o.count == 0:
		return o, applets.Usage("--count must be at least 1")
	case f.IsSet("for") && o.most <= 0:
		return o, applets.Usage("--for must be longer than 0")
	case snapLen > wire.MaxSnapLen:
		return o, applets.Usage("--snaplen must be at most %d, got %d", wire.MaxSnapLen, snapLen)
	case f.IsSet("write") && o.file == "":
		return o, applets.Usage("-w needs the name of a file, or - for stdout")
	case o.file == "-" && applets.IsTerminal(inv.Out):
		return o, applets.WithHint(applets.Usage("-w - writes binary data, and stdout is a terminal"),
			"pipe it to a program, as in '-w - | wireshark -k -i -', or leave out -w for text")
	}

	if err := errors.Join(o.parseFiles(inv), o.parseShown(inv)); err != nil {
		return o, err
	}
	o.query = query{snapLen: uint32(snapLen), interfaceName: f.String("interface"), expression: expression}
	if snapLen == 0 {
		o.snapLen = wire.MaxSnapLen // as tcpdump does
	}
	return o, o.compile()
}

// parseFiles reads the flags for several files.
func (o *options) parseFiles(inv *applets.Invocation) error {
	f := inv.Flags
	switch {
	case f.IsSet("files") && !f.IsSet("file-size"):
		return applets.Usage("-W needs -C SIZE")
	case f.IsSet("files") && o.fileCount == 0:
		return applets.Usage("-W must be at least 1")
	case f.IsSet("file-size") && (o.file == "" || o.file == "-"):
		return applets.Usage("-C needs -w FILE")
	case !f.IsSet("file-size"):
		return nil
	}

	var err error
	o.fileSize, err = parseSize(f.String("file-size"))
	return err
}

// compile makes the kernel's programs of the filter, for each link type.
func (o *options) compile() error {
	var firstErr error
	for _, link := range []uint16{wire.LinkEthernet, wire.LinkRaw} {
		compiled, err := packetfilter.Compile(o.expression, link, o.snapLen)
		switch {
		case err == nil:
			o.filters = append(o.filters, wire.PacketFilter{LinkType: link, Program: compiled})
		case firstErr == nil:
			firstErr = err
		}
	}

	if len(o.filters) == 0 {
		return &applets.UsageError{Err: firstErr}
	}
	return nil
}

// captureTarget captures the packets of a target's pod or pods until ctx ends, or enough was
// captured.
func (o options) captureTarget(ctx context.Context, api cluster, request containers.Request, streams applets.Streams) error {
	out, err := o.openOutput(ctx, streams)
	if err != nil {
		return err
	}
	defer out.discardIfEmpty()

	ctx, cancel := followOutput(ctx, out)
	defer cancel(nil)
	counted := &counter{sink: out, most: o.count, time: o.most, enough: func() { cancel(nil) }}
	waitForNames := o.lookUpNames(ctx, api)
	if o.all {
		out.setNames(waitForNames())
		err = o.captureAll(ctx, api, request, counted, streams)
	} else {
		err = o.captureOne(ctx, api, request, counted, func() { out.setNames(waitForNames()) }, streams)
	}

	return concludeShown(ctx, out, counted.report(streams.Err, err, out.close()))
}

// captureOne captures from the best of a target's pods. ready is called when a container runs there.
func (o options) captureOne(ctx context.Context, api containers.API, request containers.Request,
	out sink, ready func(), streams applets.Streams,
) error {
	line := statusline.New(streams.Err)
	defer line.End()
	messages := containers.MessagesAbove(line, false)

	handle := containers.NewCapture(api, request, messages)
	injected, err := handle.Ensure(ctx)
	if err != nil {
		return err
	}
	line.End()
	ready()

	return o.capturePod(ctx, api, request, handle, injected, out, streams)
}

// capturePod captures from one pod, in which a container runs.
func (o options) capturePod(ctx context.Context, api containers.API, request containers.Request,
	handle *containers.Capture, injected kube.Injected, out sink, streams applets.Streams,
) error {
	out = o.explainPackets(ctx, api, request, handle.Pod(), out, streams.Err)
	out = &notingStart{sink: out, out: streams.Err, rung: describeRung(injected.Profile)}

	return captureFrom(ctx, handle, o.query, out)
}
