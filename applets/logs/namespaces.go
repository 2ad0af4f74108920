package logs

import (
	"context"
	"strings"

	"kdiag/applets"
	"kdiag/kube"
)

// podWatcher watches the pods of one namespace, or of all.
type podWatcher interface {
	WatchPods(ctx context.Context, s kube.Selection, w kube.PodWatch) error
}

// parseNamespaces reads -n, which may be repeated, and -A.
func (o *options) parseNamespaces(inv *applets.Invocation) error {
	for _, text := range inv.Flags.StringSlice("namespace") {
		o.namespaces = append(o.namespaces, strings.Split(text, ",")...)
	}
	if !inv.Flags.Bool("all-namespaces") {
		return nil
	}

	o.namespaces = []string{""}
	if len(inv.Args) > 0 || len(inv.Flags.StringSlice("pod")) > 0 {
		return applets.Usage("--all-namespaces can't be combined with names: use -l selector, or leave them out for all pods")
	}

	return nil
}

// hasManyNamespaces reports whether pods of several namespaces may be shown.
func (o *options) hasManyNamespaces() bool {
	return len(o.namespaces) > 1 || len(o.namespaces) == 1 && o.namespaces[0] == ""
}

// repeatSelections returns each selection once for each namespace, and who watches its pods there.
func (o *options) repeatSelections(c *kube.Cluster) (selections []logSelection, watchers []podWatcher) {
	if len(o.namespaces) == 0 {
		return o.selections, nil
	}

	for _, namespace := range o.namespaces {
		in := c.InNamespace(namespace)
		for _, s := range o.selections {
			selections, watchers = append(selections, s), append(watchers, in)
		}
	}

	return selections, watchers
}

// watcher returns who watches the pods of a selection.
func (f *follower) watcher(i int) podWatcher {
	if f.watchers == nil {
		return f.cluster
	}
	return f.watchers[i]
}

// showNamespaces has a format show NAMESPACE/POD instead of POD.
func showNamespaces(format formatter) formatter {
	return func(to []byte, l *podLine) ([]byte, error) {
		shown := *l
		shown.Pod = l.Namespace + "/" + l.Pod
		return format(to, &shown)
	}
}
