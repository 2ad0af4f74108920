package podproc

import (
	"cmp"
	"errors"
	"os"
	"slices"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// maxHoldCommand bounds what is read of hold's command line, in bytes.
const maxHoldCommand = 64 << 10

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
		words, cut, err := procfs.ReadCommandStart(process.PID, maxHoldCommand)
		if err == nil && !cut && process.PID != os.Getpid() && IsHold(words) {
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
