package kube

import (
	"fmt"
	"strings"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Manager describes the kdiag process that an ephemeral container runs: whose it is and what
// for. All of it stands in the container's arguments, so that a later run of kdiag recognizes
// the container.
//
// In a request, an IdleTimeout of 0 stands for the profile's default for a new container, and for
// whatever an existing one has.
type Manager wire.ManagerArguments

// arguments returns the manager's command line, without flags that would be empty.
func (m Manager) arguments() []string { return wire.ManagerArguments(m).Args() }

// parseManager reads a manager back from a container's arguments. It returns false for a
// container that does not run one. It ignores flags that it does not know, of another version.
func parseManager(c *corev1.EphemeralContainer) (Manager, bool) {
	if len(c.Args) == 0 || c.Args[0] != wire.AppletManager {
		return Manager{}, false
	}

	a, _ := wire.ParseManagerArguments(c.Args[1:])
	return Manager(a), a.Role != ""
}

// hasSameOwner reports whether two managers have the same user, job and version. Profile and
// idle timeout may differ.
func (m Manager) hasSameOwner(other Manager) bool {
	return m.Role == other.Role && m.Target == other.Target && m.User == other.User && m.Version == other.Version
}

// newContainerName makes up a name for one more container, with a random suffix: no name in a
// pod is ever free again. It is a DNS label (RFC 1123), of at most 63 characters.
func (m Manager) newContainerName() string {
	name := "kdiag-" + m.Role
	if m.Target != "" {
		name += "-" + m.Target
	}

	const suffix = 5
	if most := 63 - suffix - 1; len(name) > most {
		name = strings.TrimRight(name[:most], "-")
	}
	return fmt.Sprintf("%s-%s", name, utilrand.String(suffix))
}

// containerPrefix returns how the names of all containers of this role begin.
func (m Manager) containerPrefix() string { return "kdiag-" + m.Role + "-" }

// RunningManager is a manager in a pod that runs or is about to.
type RunningManager struct {
	// Container names the ephemeral container that it runs in.
	Container string
	Manager
}

// FindManagers lists a user's managers in a pod that run or are about to, by the pod's status. One
// that the kubelet cannot start is not about to run.
func FindManagers(pod *corev1.Pod, user string) []RunningManager {
	var living []RunningManager
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		_, stuck := readProgress(pod, container.Name, "")
		if m, ok := parseManager(container); ok && m.User == user && stuck == "" && !hasEnded(pod, container.Name) {
			living = append(living, RunningManager{container.Name, m})
		}
	}
	return living
}
