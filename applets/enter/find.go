package enter

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

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
	if doubt := lookAt(1).doubt(opts); doubt != "" {
		err := fmt.Errorf("PID 1 is not the target's: %s", doubt)
		if opts.ContainerID != "" {
			err = fmt.Errorf("container %s: no process found; has it exited? (PID 1 is %s)", opts.ContainerID, doubt)
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

// facts are what is known about a process that may be the target.
type facts struct {
	words       []string
	cgroups     procfs.Cgroups
	own         procfs.Cgroups
	cgroupError error
}

func lookAt(pid int) facts {
	var f facts
	var err, ownErr error
	f.words, _ = procfs.ReadCommandLine(pid)
	f.cgroups, err = procfs.ReadCgroups(pid)
	f.own, ownErr = procfs.ReadCgroups(os.Getpid())
	f.cgroupError = cmp.Or(err, ownErr)
	return f
}

// doubt says what PID 1 is when it cannot be taken for the target, else
// nothing. It can where the ephemeral container was put into the target's PID
// namespace, unless the cgroups speak against it: in one of theirs the target
// would have been found. Sandboxed runtimes show none, or nothing but roots.
func (f facts) doubt(opts Options) string {
	switch {
	case opts.SharedPIDs:
		return "the pod's or the node's"
	case isManager(f.words):
		return "kdiag's own manager, which shares no processes with the target"
	case opts.ContainerID == "", errors.Is(f.cgroupError, fs.ErrNotExist):
		return ""
	case f.cgroupError != nil:
		return "not to be told from others: " + f.cgroupError.Error()
	case f.cgroups.Root() && f.own.Root():
		return ""
	default:
		return "in another container's cgroup or in the node's"
	}
}

// isManager reports whether a command line is a kdiag manager's.
func isManager(words []string) bool {
	return len(words) >= 2 && words[1] == "manager" &&
		slices.ContainsFunc(words[2:], func(w string) bool { return strings.HasPrefix(w, "--role=") })
}

// hinted adds what to do about a target that cannot be found.
func hinted(err error) error {
	return applets.WithHint(err, "\"kdiag enter\" is for the ephemeral container that \"kdiag shell\" adds beside a running container")
}
