package kube

import (
	"fmt"
	"strings"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// Manager says whose ephemeral container it is and what it is for. All of it
// stands in the container's arguments, so that a later run finds the container
// again.
type Manager struct {
	// Role is wire.RoleShell or wire.RoleNet.
	Role string
	// Target is the container that a shell container was made for; empty for a
	// net container, which is for the pod.
	Target string
	// User is the user's public key, in base64.
	User string
	// Profile is a shell container's.
	Profile Profile
	Version string
	// Reason is the user's own word on what they do it for; it may be empty. It
	// is there for others to read, and not for finding the container again.
	Reason string
	// IdleTimeout is how long it stays with nothing to do; 0 in a request leaves
	// it to the profile, and takes a container that is there as it is.
	IdleTimeout time.Duration
}

// arguments returns the manager's command line, in a fixed order, without the flags
// that would be empty.
func (m Manager) arguments() []string {
	return wire.ManagerArguments{
		Role: m.Role, Target: m.Target, User: m.User, Profile: string(m.Profile),
		Version: m.Version, IdleTimeout: m.IdleTimeout, Reason: m.Reason,
	}.Args()
}

// parseManager reads a container's arguments back. It is false for a container
// that is not a manager's. Flags that another version has added are no matter.
func parseManager(c *corev1.EphemeralContainer) (Manager, bool) {
	if len(c.Args) == 0 || c.Args[0] != wire.AppletManager {
		return Manager{}, false
	}

	a, _ := wire.ParseManagerArguments(c.Args[1:])
	return Manager{
		Role: a.Role, Target: a.Target, User: a.User, Profile: Profile(a.Profile),
		Version: a.Version, IdleTimeout: a.IdleTimeout, Reason: a.Reason,
	}, a.Role != ""
}

// hasSameOwner reports whether m and other are the same user's, for the same job
// and of the same version; profile and idle time-out may differ.
func (m Manager) hasSameOwner(other Manager) bool {
	return m.Role == other.Role && m.Target == other.Target && m.User == other.User && m.Version == other.Version
}

// newContainerName is a free name for one more container: a pod's containers, the
// ephemeral ones too, keep their names for as long as the pod lives. It is a
// DNS label (RFC 1123), 63 characters at most.
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

// containerPrefix is what the names of all containers of this role begin with.
func (m Manager) containerPrefix() string { return "kdiag-" + m.Role + "-" }

// RunningManager is a manager in a pod that has not ended.
type RunningManager struct {
	// Container is the ephemeral container that it runs in.
	Container string
	Manager
}

// FindManagers are those of a user that live in a pod, or are about to, by what
// the API says of it.
func FindManagers(pod *corev1.Pod, user string) []RunningManager {
	var living []RunningManager
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		if m, ok := parseManager(container); ok && m.User == user && !hasEnded(pod, container.Name) {
			living = append(living, RunningManager{container.Name, m})
		}
	}
	return living
}
