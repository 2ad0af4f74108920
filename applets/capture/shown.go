package capture

import (
	"context"
	"errors"
	"net/netip"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/applets/internal/laptop/podset"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// cluster is what the command asks of the API. *kube.Cluster is the real one.
type cluster interface {
	containers.API
	podset.API
	peerLister
}

// shown are the options that say which pods are captured, and what is shown with the packets.
type shown struct {
	// all captures from every pod of the target.
	all bool
	// processes adds comments, names shows names in lines of text.
	processes, names bool
	// wireshark shows the packets there.
	wireshark bool
}

// parseShown reads the flags of shown.
func (o *options) parseShown(inv *applets.Invocation) error {
	f := inv.Flags
	o.shown = shown{
		all: f.Bool("all"), processes: f.Bool("processes"), names: f.Bool("names"), wireshark: f.Bool("wireshark"),
	}

	isText := o.file == "" && !o.wireshark
	switch {
	case o.wireshark && o.file != "":
		return applets.Usage("--wireshark and -w can't be combined: save the packets from Wireshark's window")
	case o.processes && isText:
		return applets.Usage("--processes needs -w or --wireshark: lines of text have no comments")
	case o.names && !isText:
		return applets.Usage("--names is for text; a file always has the names")
	}

	return nil
}

// checkAll refuses --all for a pod's name.
func (o options) checkAll(target kube.Selection) error {
	if o.all && target.Kind == "pods" && target.Name != "" {
		return applets.Usage("--all needs TYPE/NAME or -l SELECTOR, not a pod's name")
	}

	return nil
}

// lookUpNames begins to ask for names if the output shows them.
func (o options) lookUpNames(ctx context.Context, lister peerLister) (wait func() kube.Peers) {
	if isText := o.file == "" && !o.wireshark; isText && !o.names {
		return func() kube.Peers { return nil }
	}

	return lookUpNames(ctx, lister)
}

// setNames has the lines show names.
func (t *textOutput) setNames(peers kube.Peers) { t.names = lineNames(peers) }

// setNames has every file begin with names.
func (f *fileOutput) setNames(peers kube.Peers) { f.names = fileNames(peers) }

// newWriter begins a file, with the names that are known.
func (f *fileOutput) newWriter() *pcapng.Writer {
	writer := pcapng.NewWriter(f.file, "captured with kdiag")
	_ = f.fail(writer.WriteNames(f.names))
	f.head = writer.Written()

	return writer
}

// addPodNames adds the names of a pod that is captured, whatever the user may list.
func (f *fileOutput) addPodNames(pod *corev1.Pod) {
	missing := map[netip.Addr][]string{}
	for address, names := range podNames(pod) {
		if f.names[address] == nil {
			missing[address] = names
		}
	}

	if f.names == nil {
		f.names = map[netip.Addr][]string{}
	}
	for address, names := range missing {
		f.names[address] = names
	}

	_ = f.fail(f.writer.WriteNames(missing))
}

// followOutput returns a context that also ends when the output's window is closed.
func followOutput(ctx context.Context, out output) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if window := windowOf(out); window != nil {
		go func() {
			select {
			case <-window.ended:
				cancel(errViewerGone)
			case <-ctx.Done():
			}
		}()
	}

	return ctx, cancel
}

// windowOf returns the window that shows an output; nil if there is none.
func windowOf(out output) *viewer {
	if file, ok := out.(*fileOutput); ok {
		window, _ := file.file.(*viewer)
		return window
	}

	return nil
}

// concludeShown returns how a capture has ended: that the user has closed the window is no fault.
func concludeShown(ctx context.Context, out output, err error) error {
	window := windowOf(out)
	gone := errors.Is(err, errViewerGone) || errors.Is(context.Cause(ctx), errViewerGone)
	if window == nil || !gone {
		return err
	}

	return window.result()
}
