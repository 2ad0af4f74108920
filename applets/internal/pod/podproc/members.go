package podproc

import (
	"errors"
	"io/fs"

	"kdiag/applets/internal/pod/procfs"
)

// A Membership says by a process's cgroups whether it belongs to what is looked for.
//
// One rule holds for all who look for processes by their cgroups:
//
//   - A process that has gone by the time it is looked at belongs to nothing.
//   - A process whose cgroups cannot be read belongs to nothing: what is not known is left alone.
//   - Where the runtime shows no cgroups, as sandboxed ones do, a process has none to tell it by.
//   - A dead process that nobody has waited for belongs where the kernel says. Who looks for living
//     ones asks procfs.Stat.Dead.
//   - Of a process that is exiting, cgroup v1 shows the root (kernel/cgroup/cgroup.c,
//     proc_cgroup_show, PF_EXITING). So it is not found where it was; who must know of it tells it
//     by its session or its parent.
type Membership func(pid int, cgroups procfs.Cgroups) bool

// ContainerCgroups finds the processes of the container with an ID.
func ContainerCgroups(id string) Membership {
	return func(_ int, cgroups procfs.Cgroups) bool { return cgroups.BelongToContainer(id) }
}

// SameCgroups finds the processes that are in the same cgroups, each of them.
func SameCgroups(own procfs.Cgroups) Membership {
	return func(_ int, cgroups procfs.Cgroups) bool { return cgroups.Same(own) }
}

// FindMembers returns the processes that belong, in no order.
func FindMembers(belongs Membership) ([]procfs.Stat, error) {
	pids, err := procfs.ListPIDs()
	if err != nil {
		return nil, err
	}

	var found []procfs.Stat
	for _, pid := range pids {
		if !IsMember(pid, belongs) {
			continue
		}
		if stat, err := procfs.ReadStat(pid); err == nil {
			found = append(found, stat)
		}
	}

	return found, nil
}

// IsMember reports whether one process belongs.
func IsMember(pid int, belongs Membership) bool {
	return isMember(pid, procfs.ReadCgroups, belongs)
}

func isMember(pid int, read func(pid int) (procfs.Cgroups, error), belongs Membership) bool {
	cgroups, err := read(pid)
	if errors.Is(err, fs.ErrNotExist) {
		// Either the process has gone, or the runtime shows no cgroups.
		_, err = procfs.ReadStat(pid)
	}
	return err == nil && belongs(pid, cgroups)
}
