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

// checkPIDOne fails where PID 1 cannot be taken for the target's first process.
func checkPIDOne(target wire.TargetArguments) error {
	doubt := readFacts(1).explainDoubt(target)
	if doubt == "" {
		return nil
	}

	err := fmt.Errorf("PID 1 is not the target's: it is %s", doubt)
	if target.ID != "" {
		err = fmt.Errorf("container %s: no process found; has it exited? (PID 1 is %s)", target.ID, doubt)
	}

	return applets.WithHint(err, "this command works in the ephemeral container that kdiag adds beside a running container")
}

// facts holds what tells whether a process may be the target's.
type facts struct {
	words       []string
	cgroups     procfs.Cgroups
	own         procfs.Cgroups
	cgroupError error
}

// readFacts reads them of one process.
func readFacts(pid int) facts {
	var f facts
	var err, ownErr error

	f.words, _, _ = procfs.ReadCommandStart(pid, mostOfManager)
	f.cgroups, err = procfs.ReadCgroups(pid)
	f.own, ownErr = procfs.ReadCgroups(os.Getpid())
	f.cgroupError = cmp.Or(err, ownErr)
	return f
}

// explainDoubt says what PID 1 is where it cannot be taken for the target's, and else nothing. It
// can where the ephemeral container was put into the target's PID namespace, unless the cgroups
// speak against it: if the target had one that names it, it would have been found there. Sandboxed
// runtimes show no cgroups, or nothing but roots.
func (f facts) explainDoubt(target wire.TargetArguments) string {
	switch {
	case target.SharedPIDs:
		return "the pod's or the node's"
	case isManager(f.words):
		return "kdiag's own manager, which shares no processes with the target"
	case target.ID == "", errors.Is(f.cgroupError, fs.ErrNotExist):
		return ""
	case f.cgroupError != nil:
		return "in an unknown cgroup: " + f.cgroupError.Error()
	case f.cgroups.AllAtRoot() && f.own.AllAtRoot():
		return ""
	default:
		return "in the cgroup of another container or of the node"
	}
}

// findForeign returns, in a PID namespace that is shared with one container, the processes that
// are not of this one: those in other cgroups, or, where cgroups tell nothing, those that are
// neither a manager nor this process.
func findForeign() ([]procfs.Stat, error) {
	f := readFacts(1)
	return FindMembers(func(pid int, cgroups procfs.Cgroups) bool {
		if f.cgroupError == nil && !f.cgroups.Same(f.own) {
			return !cgroups.Same(f.own)
		}

		words, _, _ := procfs.ReadCommandStart(pid, mostOfManager)
		return pid != os.Getpid() && !isManager(words)
	})
}

// mostOfManager is as much of a command line as a manager's has, in bytes.
const mostOfManager = 4096

// isManager reports whether a command line is a kdiag manager's.
func isManager(words []string) bool {
	return len(words) >= 2 && words[1] == wire.AppletManager &&
		slices.ContainsFunc(words[2:], func(w string) bool { return strings.HasPrefix(w, "--role=") })
}
