package kubeflags

import (
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// ProbeFlags are the flags that ParseProbe reads; timeout is the default of
// --timeout.
func ProbeFlags(timeout time.Duration) []cli.Flag {
	return slices.Concat([]cli.Flag{
		imageFlag(), pullPolicyFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "Maximum time for all checks", Value: timeout},
	}, LookFlags())
}

// Probe is a look at what the cluster would admit of kdiag's containers.
type Probe struct {
	*Look
	Image string
	// Targeted is false where no target is named.
	Targeted   bool
	pullPolicy corev1.PullPolicy
	manager    kube.Manager
}

// ParseProbe reads the flags; it asks the cluster nothing. An error that is no
// wrong usage is the kubeconfig's.
func ParseProbe(inv *applets.Invocation) (*Probe, error) {
	p := &Probe{Targeted: HasTarget(inv), Image: Image(inv), pullPolicy: pullPolicy(inv)}
	if inv.Flags.Duration("timeout") <= 0 {
		return nil, applets.Usage("--timeout is longer than 0")
	}
	var err error
	if p.Look, err = ParseLook(inv); err != nil {
		return nil, err
	}
	p.manager = kube.Manager{Version: inv.Build.Version, User: p.User}
	return p, nil
}

// Shell is the request for a shell container that "shell" would make.
func (p *Probe) Shell(target kube.Target) kube.ShellRequest {
	manager := p.manager
	manager.Role, manager.Target, manager.Profile = wire.RoleShell, target.Container, kube.ProfileAuto
	return kube.ShellRequest{Target: target, Image: p.Image, PullPolicy: p.pullPolicy, Manager: manager}
}

// Net is the request for a net container that "redir" would make.
func (p *Probe) Net(pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{Pod: pod, Image: p.Image, PullPolicy: p.pullPolicy, Manager: p.manager}
}
