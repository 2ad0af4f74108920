package kubeflags

import (
	"context"
	"slices"

	"kdiag/applets"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// LookFlags are the flags that ParseLook reads.
func LookFlags() []cli.Flag {
	return slices.Concat(Target("Container name (default the pod's default container)"), Connection())
}

// Look is what a command line says of a cluster, and of a target if there is
// one, that are looked at only.
type Look struct {
	Cluster *kube.Cluster
	// User is the public half of the user's key; empty where there is no key
	// yet.
	User      string
	selection kube.Selection
	container string
}

// HasTarget reports whether the line names a target, rightly or not.
func HasTarget(inv *applets.Invocation) bool {
	return len(inv.Args) > 0 || inv.Flags.String("pod") != "" || inv.Flags.String("selector") != ""
}

// ParseLook reads the flags; it asks the cluster nothing. An error that is no
// wrong usage is the kubeconfig's.
func ParseLook(inv *applets.Invocation) (*Look, error) {
	l := &Look{}
	var err error
	if HasTarget(inv) {
		if l.selection, l.container, err = Selection(inv, inv.Args); err != nil {
			return nil, err
		}
	}

	if l.User, err = knownUser(); err != nil {
		return nil, err
	}

	l.Cluster, err = Connect(inv)
	return l, err
}

// Find finds the target's pod.
func (l *Look) Find(ctx context.Context) (*corev1.Pod, error) {
	pod, err := l.Cluster.FindPod(ctx, l.selection)
	return pod, timedOut(ctx, err)
}

// PodName is the pod where the target is named so, else empty.
func (l *Look) PodName() string {
	if l.selection.Kind != "pods" {
		return ""
	}
	return l.selection.Name
}

// Pick finds the target's container, which must be running.
func (l *Look) Pick(pod *corev1.Pod) (kube.Target, error) {
	return kube.PickContainer(pod, l.container)
}
