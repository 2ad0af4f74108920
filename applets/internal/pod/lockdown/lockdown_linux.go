package lockdown

import (
	"fmt"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// CloseProcess keeps everybody without SYS_PTRACE from tracing the process, dumping it or looking
// into it (ptrace(2), "Ptrace access mode checking"). It comes before any capability is given up:
// the kernel lets a tracer in whose permitted set has all that the tracee's has, so a process with
// fewer is easier to trace. The next execve opens the process again.
func CloseProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close the process to tracers: %w", err)
	}

	// A process with all of this one's capabilities may have been quicker.
	status, err := procfs.ReadStatus(unix.Getpid())
	if err != nil {
		return err
	}
	if status.Tracer != 0 {
		return fmt.Errorf("process %d is tracing this one, which cannot be trusted", status.Tracer)
	}

	return nil
}

// KeepCapabilities gives up every capability but those in own, on all threads. Of the permitted
// and effective set, what is in own stays; of the bounding set, what is in children; the
// inheritable and ambient set become empty. Afterwards no execve grants more than the process has
// (PR_SET_NO_NEW_PRIVS). Without SETPCAP the bounding set stays as the runtime made it, and
// no_new_privs alone keeps it from granting anything (capabilities(7), security/commoncap.c).
func KeepCapabilities(own, children procfs.CapSet) error {
	status, err := procfs.ReadStatus(unix.Getpid())
	if err != nil {
		return err
	}

	if err := credentials.AllThreads.SetNoNewPrivileges(); err != nil {
		return err
	}
	if err := credentials.AllThreads.SetAmbient(0); err != nil {
		return err
	}

	if status.Caps.Effective.Has(unix.CAP_SETPCAP) {
		if err := credentials.AllThreads.DropBounding(status.Caps.Bounding &^ children); err != nil {
			return err
		}
	}

	// Last, since dropping from the bounding set takes SETPCAP.
	keep := status.Caps.Permitted & own
	if err := credentials.AllThreads.SetCapabilities(procfs.Capabilities{Effective: keep, Permitted: keep}); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}

	return nil
}
