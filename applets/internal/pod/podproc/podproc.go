// Package podproc finds, among the processes that an ephemeral container sees,
// those of the container beside it.
package podproc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// Container is the one whose processes are meant. Without an ID its first
// process is PID 1.
type Container wire.Target

// Check says what is wrong with c, as flags that make no sense.
func (c Container) Check() error {
	if c.ID != "" && !isContainer(c.ID) {
		return fmt.Errorf("--container-id %q is not an ID of a container", c.ID)
	}
	if c.SharedPIDs && c.ID == "" {
		return fmt.Errorf("--shared-pids needs --container-id: nothing else tells which process is the target's")
	}
	return nil
}

// isContainer reports whether an ID may be a container's. Runtimes' IDs have 64
// hexadecimal digits, but nothing promises that; a short one could stand in
// another container's path.
func isContainer(id string) bool {
	other := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
	}
	return len(id) >= 8 && len(id) <= 128 && !strings.ContainsFunc(id, other)
}

// First returns the container's first process.
func (c Container) First() (procfs.Stat, error) {
	found, err := c.byCgroup()
	if err != nil {
		return procfs.Stat{}, err
	}
	if init, ok := firstOf(found); ok {
		return init, nil
	}
	if err := c.mayBeFirst(); err != nil {
		return procfs.Stat{}, err
	}

	return procfs.ReadStat(1)
}

// All returns the container's processes, zombies too, by their PIDs, most of
// them at most, and whether there are more. Kdiag's own are not among them.
func (c Container) All(most int) (found []procfs.Stat, cut bool, err error) {
	found, err = c.byCgroup()
	if err != nil {
		return nil, false, err
	}

	if _, ok := firstOf(found); !ok {
		if err := c.mayBeFirst(); err != nil {
			return nil, false, err
		}
		if found, err = notOurs(); err != nil {
			return nil, false, err
		}
	}

	slices.SortFunc(found, func(a, b procfs.Stat) int { return cmp.Compare(a.PID, b.PID) })
	return found[:min(len(found), most)], len(found) > most, nil
}

// byCgroup returns the processes in the container's cgroup, none where there is
// no ID to know it by.
func (c Container) byCgroup() ([]procfs.Stat, error) {
	if c.ID == "" {
		return nil, nil
	}
	found, err := processes(func(_ int, groups procfs.Cgroups) bool { return groups.Name(c.ID) })
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", c.ID, err)
	}
	return found, nil
}

// notOurs returns, in a PID namespace that is shared with one container, the
// processes that are not of this one: in other cgroups, or, where these tell
// nothing, neither a manager nor this process.
func notOurs() ([]procfs.Stat, error) {
	f := lookAt(1)
	return processes(func(pid int, groups procfs.Cgroups) bool {
		if f.cgroupError == nil && !f.cgroups.Same(f.own) {
			return !groups.Same(f.own)
		}
		words, _, _ := procfs.ReadCommandStart(pid, mostOfManager)
		return pid != os.Getpid() && !isManager(words)
	})
}

func processes(belongs func(pid int, groups procfs.Cgroups) bool) ([]procfs.Stat, error) {
	pids, err := procfs.List()
	if err != nil {
		return nil, err
	}

	var found []procfs.Stat
	for _, pid := range pids {
		// A process that ends meanwhile fails here, and is none. A runtime that
		// shows no cgroups has none to tell by.
		groups, err := procfs.ReadCgroups(pid)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || !belongs(pid, groups) {
			continue
		}
		if stat, err := procfs.ReadStat(pid); err == nil {
			found = append(found, stat)
		}
	}

	return found, nil
}

// firstOf chooses, among a container's living processes, the one that the
// others come from. Its parent, and that of each exec'd process, is not in the
// container; it is the oldest of these.
func firstOf(found []procfs.Stat) (procfs.Stat, bool) {
	found = slices.DeleteFunc(slices.Clone(found), procfs.Stat.Dead)
	members := map[int]bool{}
	for _, p := range found {
		members[p.PID] = true
	}

	roots := slices.DeleteFunc(found, func(p procfs.Stat) bool { return members[p.Parent] })
	if len(roots) == 0 {
		return procfs.Stat{}, false
	}

	return slices.MinFunc(roots, func(a, b procfs.Stat) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	}), true
}

// mayBeFirst fails where PID 1 cannot be taken for the container's.
func (c Container) mayBeFirst() error {
	doubt := lookAt(1).doubt(c)
	if doubt == "" {
		return nil
	}
	err := fmt.Errorf("PID 1 is not the target's: %s", doubt)
	if c.ID != "" {
		err = fmt.Errorf("container %s: no process found; has it exited? (PID 1 is %s)", c.ID, doubt)
	}
	return applets.WithHint(err, "this is for the ephemeral container that kdiag adds beside a running container")
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
	f.words, _, _ = procfs.ReadCommandStart(pid, mostOfManager)
	f.cgroups, err = procfs.ReadCgroups(pid)
	f.own, ownErr = procfs.ReadCgroups(os.Getpid())
	f.cgroupError = cmp.Or(err, ownErr)
	return f
}

// doubt says what PID 1 is when it cannot be taken for the target, else
// nothing. It can where the ephemeral container was put into the target's PID
// namespace, unless the cgroups speak against it: in one of theirs the target
// would have been found. Sandboxed runtimes show none, or nothing but roots.
func (f facts) doubt(c Container) string {
	switch {
	case c.SharedPIDs:
		return "the pod's or the node's"
	case isManager(f.words):
		return "kdiag's own manager, which shares no processes with the target"
	case c.ID == "", errors.Is(f.cgroupError, fs.ErrNotExist):
		return ""
	case f.cgroupError != nil:
		return "not to be told from others: " + f.cgroupError.Error()
	case f.cgroups.Root() && f.own.Root():
		return ""
	default:
		return "in another container's cgroup or in the node's"
	}
}

// mostOfManager is as much of a command line as a manager's has, in bytes.
const mostOfManager = 4096

// isManager reports whether a command line is a kdiag manager's.
func isManager(words []string) bool {
	return len(words) >= 2 && words[1] == "manager" &&
		slices.ContainsFunc(words[2:], func(w string) bool { return strings.HasPrefix(w, "--role=") })
}
