package podproc

import (
	"cmp"
	"errors"
	"os"
	"slices"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// maxHoldStart bounds what is read of a process's command line to recognize hold, in bytes.
// maxHoldCommand bounds what is read of hold's own: the kernel allows no longer one (execve(2)).
const (
	maxHoldStart   = 4 << 10
	maxHoldCommand = 8 << 20
)

// FindHold returns the process of this container that holds it in place of the application, and what that
// was told. Of several, the oldest is the container's own.
func FindHold() (pid int, arguments wire.HoldArguments, err error) {
	own, err := procfs.ReadCgroups(os.Getpid())
	if err != nil {
		return 0, arguments, err
	}
	found, err := FindMembers(SameCgroups(own))
	if err != nil {
		return 0, arguments, err
	}

	slices.SortFunc(found, func(a, b procfs.Stat) int { return cmp.Compare(a.Start, b.Start) })
	for _, process := range found {
		words, _, err := procfs.ReadCommandStart(process.PID, maxHoldStart)
		if err != nil || process.PID == os.Getpid() || !IsHold(words) {
			continue
		}

		if words, _, err = procfs.ReadCommandStart(process.PID, maxHoldCommand); err == nil && IsHold(words) {
			arguments, err = wire.ParseHoldArguments(words[2:])
			return process.PID, arguments, err
		}
	}
	return 0, arguments, errors.New("no process of this container is kdiag hold")
}

// IsHold reports whether a command line is that of a pod's hold.
func IsHold(words []string) bool {
	return len(words) >= 2 && words[1] == wire.AppletHold && (words[0] == wire.CopyBinary || words[0] == wire.Binary)
}
