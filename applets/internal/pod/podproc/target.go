// Package podproc finds, among the processes that an ephemeral container sees, those of the
// container beside it, its target.
package podproc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// CheckTarget refuses a target whose flags make no sense.
func CheckTarget(target wire.TargetArguments) error {
	if target.ID != "" && !isContainerID(target.ID) {
		return fmt.Errorf("--container-id %q is not a container ID", target.ID)
	}
	if target.SharedPIDs && target.ID == "" {
		return errors.New("--shared-pids needs --container-id: nothing else tells which processes are the target's")
	}
	return nil
}

// isContainerID reports whether an ID may be a container's. Runtimes' IDs have 64 hexadecimal
// digits, but nothing promises that; a short one could stand in another container's path.
func isContainerID(id string) bool {
	other := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("_.-", r)
	}
	return len(id) >= 8 && len(id) <= 128 && !strings.ContainsFunc(id, other)
}

// FindFirst returns the target's first process: the oldest in its cgroup, or PID 1 if nothing says
// that this is another's.
func FindFirst(target wire.TargetArguments) (procfs.Stat, error) {
	found, err := findByCgroup(target)
	if err != nil {
		return procfs.Stat{}, err
	}
	if first, ok := firstOf(found); ok {
		return first, nil
	}

	if err := checkPIDOne(target); err != nil {
		return procfs.Stat{}, err
	}

	return procfs.ReadStat(1)
}

// ListProcesses returns up to limit of the target's processes, sorted by PID and including zombies,
// and reports whether there are more. It leaves out kdiag's own.
func ListProcesses(target wire.TargetArguments, limit int) (found []procfs.Stat, cut bool, err error) {
	found, err = findByCgroup(target)
	if err != nil {
		return nil, false, err
	}

	if _, ok := firstOf(found); !ok {
		if err := checkPIDOne(target); err != nil {
			return nil, false, err
		}
		if found, err = findForeign(); err != nil {
			return nil, false, err
		}
	}

	slices.SortFunc(found, func(a, b procfs.Stat) int { return cmp.Compare(a.PID, b.PID) })
	return found[:min(len(found), limit)], len(found) > limit, nil
}

// findByCgroup returns the processes in the target's cgroup, none if there is no ID to know it by.
func findByCgroup(target wire.TargetArguments) ([]procfs.Stat, error) {
	if target.ID == "" {
		return nil, nil
	}

	found, err := FindMembers(ContainerCgroups(target.ID))
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", target.ID, err)
	}

	return found, nil
}

// firstOf chooses, among a container's living processes, the one that the others come from. Its
// parent, and that of each exec'd process, is not in the container; it is the oldest of these.
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
