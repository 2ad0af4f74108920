package kubeflags

import (
	"context"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// ProbeFlags are the flags that ParseProbe reads; timeout is the default of
// --timeout.
func ProbeFlags(timeout time.Duration) []cli.Flag {
	return slices.Concat(Target("Container; default: the pod's default container"), []cli.Flag{
		imageFlag(), pullPolicyFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "Bound on all of it", Value: timeout},
	}, Connection())
}

// Probe is what a command line says of a cluster, and of a target if there is
// one, that are looked at and not changed.
type Probe struct {
	Cluster    *kube.Cluster
	Image      string
	PullPolicy corev1.PullPolicy
	Manager    kube.Manager
	// Targeted is false where no target is named.
	Targeted  bool
	selection kube.Selection
	container string
}

// ParseProbe reads the flags; it asks the cluster nothing. An error that is no
// wrong usage is the kubeconfig's.
func ParseProbe(inv *applets.Invocation) (*Probe, error) {
	p := &Probe{Targeted: hasTarget(inv), Image: Image(inv), PullPolicy: pullPolicy(inv)}
	var err error
	if p.Targeted {
		if p.selection, p.container, err = Selection(inv, inv.Args); err != nil {
			return nil, err
		}
	}
	if inv.Flags.Duration("timeout") <= 0 {
		return nil, applets.Usage("--timeout is longer than 0")
	}
	if p.Cluster, err = Connect(inv); err != nil {
		return nil, err
	}
	key, err := userKey(inv)
	if err != nil {
		return nil, err
	}
	p.Manager = kube.Manager{Version: inv.Build.Version, IdleTimeout: kube.DefaultIdleTimeout, User: mux.PublicText(key)}
	return p, nil
}

// hasTarget reports whether the line names a target, rightly or not.
func hasTarget(inv *applets.Invocation) bool {
	return len(inv.Args) > 0 || inv.Flags.String("pod") != "" || inv.Flags.String("selector") != ""
}

// Find finds the target's pod.
func (p *Probe) Find(ctx context.Context) (*corev1.Pod, error) {
	pod, err := p.Cluster.FindPod(ctx, p.selection)
	return pod, timedOut(ctx, err)
}

// Pick finds the target's container, which must be running.
func (p *Probe) Pick(pod *corev1.Pod) (kube.Target, error) {
	return kube.PickContainer(pod, p.container)
}

// Shell is the request for a shell container that "shell" would make.
func (p *Probe) Shell(target kube.Target) kube.ShellRequest {
	manager := p.Manager
	manager.Role, manager.Target, manager.Profile = "shell", target.Container, kube.ProfileAuto
	return kube.ShellRequest{Target: target, Image: p.Image, PullPolicy: p.PullPolicy, Manager: manager}
}

// Net is the request for a net container that "redir" would make.
func (p *Probe) Net(pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{Pod: pod, Image: p.Image, PullPolicy: p.PullPolicy, Manager: p.Manager}
}
