package podproc

import (
	"os"
	"slices"

	"kdiag/applets/internal/pod/procfs"
)

// sandboxCommands are the names of the process that holds a pod's namespaces, which outlives the
// containers: Kubernetes' own, and OpenShift's.
var sandboxCommands = []string{"pause", "pod"}

// IsApplicationLeft reports whether a process of the pod's other containers lives, as far as this
// container sees them: those of the target, or of all where the pod or the node shares its PID
// namespace. The containers of kdiag's managers do not count: they would wait for each other.
//
// When the target's first process ends, the kernel kills whatever else is in its PID namespace, the
// caller too.
func IsApplicationLeft() (bool, error) {
	own, err := procfs.ReadCgroups(os.Getpid())
	if err != nil {
		return false, err
	}

	found, err := FindMembers(func(_ int, cgroups procfs.Cgroups) bool { return cgroups.InPodOf(own) })
	if err != nil {
		return false, err
	}

	managers := findManagers(found)
	return slices.ContainsFunc(found, func(p procfs.Stat) bool {
		if p.Dead() || slices.Contains(sandboxCommands, p.Command) {
			return false
		}

		cgroups, err := procfs.ReadCgroups(p.PID)
		return err == nil && !slices.ContainsFunc(managers, cgroups.Same)
	}), nil
}

// findManagers returns the cgroups of those processes that are kdiag managers.
func findManagers(processes []procfs.Stat) (managers []procfs.Cgroups) {
	for _, p := range processes {
		words, _, err := procfs.ReadCommandStart(p.Thread, managerStart)
		if err != nil || !isManager(words) {
			continue
		}
		if cgroups, err := procfs.ReadCgroups(p.PID); err == nil {
			managers = append(managers, cgroups)
		}
	}

	return managers
}
