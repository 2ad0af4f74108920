package kubeflags

import (
	"context"
	"crypto/ed25519"
	"slices"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// NetFlags are the flags that ParseNet reads.
func NetFlags() []cli.Flag {
	return slices.Concat(Target("Container whose listening ports to redirect, if no port is given"), Injection("10m"), Connection())
}

// Net is a request for a net container, read off a command line.
type Net struct {
	Cluster *kube.Cluster
	kube.NetRequest
	// Key is the user's, whose public half the container's arguments have. Find
	// sets it.
	Key ed25519.PrivateKey
	// Container is the one that was asked for, or empty.
	Container string
	selection kube.Selection
	user      *user
}

// ParseNet reads the flags; names are the arguments that may name the target.
// It asks the cluster nothing.
func ParseNet(inv *applets.Invocation, names []string) (*Net, error) {
	n := &Net{}
	var err error
	if n.selection, n.Container, err = Selection(inv, names); err != nil {
		return nil, err
	}

	c, err := parseContainer(inv)
	if err != nil {
		return nil, err
	}

	n.Cluster, n.Image, n.PullPolicy, n.Manager, n.user = c.cluster, c.image, c.pullPolicy, c.manager, c.user
	n.Ledger, n.Notice = c.ledger, c.notice
	return n, nil
}

// Find finds the pod. A container that was named must be there.
func (n *Net) Find(ctx context.Context) error {
	pod, key, err := n.user.find(ctx, n.Cluster, n.selection)
	if err != nil {
		return err
	}
	n.Pod, n.Key, n.Manager.User = pod, key, mux.PublicText(key)
	if n.Container != "" {
		return kube.HasContainer(pod, n.Container)
	}
	return nil
}

// Shell is a request for a shell container beside the container that was asked
// for, in the pod that Find found.
func (n *Net) Shell() *Shell {
	s := &Shell{Cluster: n.Cluster, container: n.Container, selection: kube.Selection{Kind: "pods", Name: n.Pod.Name}, user: n.user}
	s.Image, s.PullPolicy, s.Manager, s.Progress = n.Image, n.PullPolicy, n.Manager, n.Progress
	s.Ledger, s.Notice = n.Ledger, n.Notice
	s.Manager.Role, s.Manager.Profile = wire.RoleShell, kube.ProfileAuto
	return s
}

// Ensure has the pod's net container run.
func (n *Net) Ensure(ctx context.Context) (kube.Injected, error) {
	injected, err := n.Cluster.EnsureNet(ctx, n.NetRequest)
	return injected, explainEnsure(ctx, err)
}
