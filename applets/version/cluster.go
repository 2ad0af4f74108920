package version

import (
	"context"
	"fmt"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/userkey"
	"kdiag/applets/kubeflags"
	"kdiag/kube"
)

// ClusterInfo describes the API server. Either Version or Error is set.
type ClusterInfo struct {
	Server  string `json:"server,omitempty"`
	Version string `json:"version,omitempty"`
	// Error says why there is no version.
	Error string `json:"error,omitempty"`
}

// ManagerInfo describes a manager of this user in the pod.
type ManagerInfo struct {
	Container string `json:"container"`
	Role      string `json:"role"`
	// Target and Profile are set for shell containers.
	Target  string `json:"target,omitempty"`
	Profile string `json:"profile,omitempty"`
	Version string `json:"version"`
}

func (m ManagerInfo) String() string {
	text := fmt.Sprintf("%s: %s", m.Container, m.Role)
	if m.Target != "" {
		text += " for container " + m.Target + ", profile " + m.Profile
	}
	return text + ", " + m.Version
}

// patience bounds how long to wait for the cluster.
const patience = 2 * time.Second

// askCluster asks the cluster. That it does not answer is no error, but for a target
// that was named.
func (i *Info) askCluster(ctx context.Context, inv *applets.Invocation, target kube.Selection) error {
	i.Cluster = &ClusterInfo{}
	ctx, cancel := kube.WithTimeout(ctx, patience)
	defer cancel()
	user, err := userkey.PublicHalf(ctx)
	if err != nil {
		i.Cluster.Error = err.Error()
		return nil
	}

	cluster, err := kubeflags.Connect(ctx, inv)
	if err != nil {
		i.Cluster.Error = err.Error()
		return nil
	}

	i.Cluster.Server = cluster.ServerAddress()
	if i.Cluster.Version, _, err = cluster.ReadServerVersion(ctx); i.Cluster.Version == "" {
		i.Cluster.Error = err.Error()
		return nil
	}

	if !kubeflags.HasTarget(inv) {
		return nil
	}

	pod, err := cluster.FindPod(ctx, target)
	if err != nil {
		return err
	}

	i.Namespace, i.Pod, i.Managers = pod.Namespace, pod.Name, []ManagerInfo{}
	for _, m := range kube.FindManagers(pod, user) {
		i.Managers = append(i.Managers, ManagerInfo{m.Container, m.Role, m.Target, string(m.Profile), m.Version})
	}

	return nil
}
