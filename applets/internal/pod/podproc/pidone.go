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

// checkPIDOne fails if PID 1 cannot be taken for the target's first process.
func checkPIDOne(target wire.TargetArguments) error {
	doubt := readEvidence(1).explainDoubt(target)
	if doubt == "" {
		return nil
	}

	err := fmt.Errorf("PID 1 does not belong to the target: it is %s", doubt)
	if target.ID != "" {
		err = fmt.Errorf("%s; has it exited? (PID 1 is %s)", wire.NoProcess(target.ID), doubt)
	}

	return applets.WithHint(err, "this command works in the ephemeral container that kdiag adds beside a running container")
}

// pidOneEvidence holds what tells whether a process may be the target's.
type pidOneEvidence struct {
	words       []string
	cgroups     procfs.Cgroups
	own         procfs.Cgroups
	cgroupError error
}

// readEvidence reads what is known about one process.
func readEvidence(pid int) pidOneEvidence {
	var e pidOneEvidence
	var err, ownErr error

	e.words, _, _ = procfs.ReadCommandStart(pid, managerStart)
	e.cgroups, err = procfs.ReadCgroups(pid)
	e.own, ownErr = procfs.ReadCgroups(os.Getpid())
	e.cgroupError = cmp.Or(err, ownErr)
	return e
}

// explainDoubt says why PID 1 cannot be taken for the target's first process. It returns "" if it
// can: the ephemeral container then shares the target's PID namespace, and no cgroup contradicts
// that. Sandboxed runtimes show no cgroups, or only roots.
func (e pidOneEvidence) explainDoubt(target wire.TargetArguments) string {
	switch {
	case target.SharedPIDs:
		return "the pod's or the node's"
	case isManager(e.words):
		return "kdiag's own manager, which shares no processes with the target"
	case target.ID == "", errors.Is(e.cgroupError, fs.ErrNotExist):
		return ""
	case e.cgroupError != nil:
		return "in an unknown cgroup: " + e.cgroupError.Error()
	case e.cgroups.AllAtRoot() && e.own.AllAtRoot():
		return ""
	case e.cgroups.InPodOf(e.own):
		// The kubelet has this container join its target, which may have been started anew since its ID
		// was read.
		return ""
	default:
		return "in the cgroup of another pod or of the node"
	}
}

// findForeign returns, in a PID namespace that is shared with one container, the processes that are
// not of this one: those in other cgroups, or, if cgroups tell nothing, those that are neither a
// manager nor this process.
func findForeign() ([]procfs.Stat, error) {
	e := readEvidence(1)
	return FindMembers(func(pid int, cgroups procfs.Cgroups) bool {
		if e.cgroupError == nil && !e.cgroups.Same(e.own) {
			return !cgroups.Same(e.own)
		}

		words, _, _ := procfs.ReadCommandStart(pid, managerStart)
		return pid != os.Getpid() && !isManager(words)
	})
}

// managerStart is how much of a command line is read to recognize a manager's, in bytes.
const managerStart = 4096

// isManager reports whether a command line is a kdiag manager's.
func isManager(words []string) bool {
	return len(words) >= 2 && words[1] == wire.AppletManager &&
		slices.ContainsFunc(words[2:], func(w string) bool { return strings.HasPrefix(w, "--role=") })
}
