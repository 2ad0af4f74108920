package enter

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"kdiag/applets"
	"kdiag/applets/internal/procfs"
)

// find returns the first process of the target container.
func find(opts Options) (procfs.Stat, error) {
	if opts.ContainerID != "" {
		found, err := processesOf(opts.ContainerID)
		if err != nil {
			return procfs.Stat{}, err
		}
		if init, ok := firstOf(found); ok {
			return init, nil
		}
	}
	if reason := notTheTargets(1, opts); reason != "" {
		err := fmt.Errorf("PID 1 is not the target's: %s", reason)
		if opts.ContainerID != "" {
			err = fmt.Errorf("container %s: no process found; has it exited? (%s)", opts.ContainerID, reason)
		}
		return procfs.Stat{}, err
	}
	return procfs.ReadStat(1)
}

// processesOf returns the living processes in a container's cgroup.
func processesOf(id string) ([]procfs.Stat, error) {
	pids, err := procfs.List()
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", id, err)
	}
	var found []procfs.Stat
	for _, pid := range pids {
		// A process that ends meanwhile fails here, and is none.
		groups, err := procfs.ReadCgroups(pid)
		if err != nil || !groups.Name(id) {
			continue
		}
		if stat, err := procfs.ReadStat(pid); err == nil && !stat.Dead() {
			found = append(found, stat)
		}
	}
	return found, nil
}

// firstOf chooses, among a container's processes, the one that the others come
// from. Its parent, and that of each exec'd process, is not in the container;
// it is the oldest of these.
func firstOf(found []procfs.Stat) (procfs.Stat, bool) {
	members := map[int]bool{}
	for _, p := range found {
		members[p.PID] = true
	}
	roots := slices.DeleteFunc(slices.Clone(found), func(p procfs.Stat) bool { return members[p.Parent] })
	if len(roots) == 0 {
		return procfs.Stat{}, false
	}
	return slices.MinFunc(roots, func(a, b procfs.Stat) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	}), true
}

// notTheTargets says why PID 1 cannot be taken for the target, or nothing.
// It can where the container was put into the target's PID namespace, and the
// cgroups do not speak against it: sandboxed runtimes show none.
func notTheTargets(pid int, opts Options) string {
	if opts.SharedPIDs {
		return "PID 1 is the pod's or the node's"
	}
	if words, err := procfs.ReadCommandLine(pid); err == nil && isManager(words) {
		return "PID 1 is kdiag's own manager, which shares no processes with the target"
	}
	if opts.ContainerID == "" {
		return ""
	}
	own, ownErr := procfs.ReadCgroups(os.Getpid())
	first, err := procfs.ReadCgroups(pid)
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(ownErr, os.ErrNotExist):
		return "" // no cgroups at all
	case err != nil || ownErr != nil:
		return "PID 1's cgroup cannot be read"
	case first.Root() && own.Root():
		return "" // cgroups that tell nothing
	default:
		return "PID 1 is in another container's cgroup or in the node's"
	}
}

// isManager reports whether a command line is a kdiag manager's.
func isManager(words []string) bool {
	return len(words) >= 2 && words[1] == "manager" &&
		slices.ContainsFunc(words[2:], func(w string) bool { return len(w) > 7 && w[:7] == "--role=" })
}

// hinted adds what to do about a target that cannot be found.
func hinted(err error) error {
	return applets.WithHint(err, "kdiag enter runs in the ephemeral container that \"kdiag shell\" adds; a restarted container needs a new one")
}
