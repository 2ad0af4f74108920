package lockdown

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// Close makes the process one that cannot be traced, dumped or looked into by anybody without
// SYS_PTRACE (ptrace(2), "Ptrace access mode checking"). It comes before any capability is given
// up: the kernel compares a tracee's permitted set with the tracer's, so that the fewer there are
// in it, the easier it is to trace. The next execve opens the process again.
func Close() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close the process to tracers: %w", err)
	}

	// One with all of this process's capabilities may have been quicker.
	status, err := procfs.ReadStatus(unix.Getpid())
	if err != nil {
		return err
	}
	if status.Tracer != 0 {
		return fmt.Errorf("process %d traces this one: it is not to be trusted", status.Tracer)
	}

	return nil
}

// Keep gives up every capability but those in own, on all threads: the permitted and effective set
// become what own and they have in common, the inheritable and ambient set empty, the bounding set
// what it has in common with children. Afterwards no execve grants more than the process has
// (PR_SET_NO_NEW_PRIVS). Without SETPCAP the bounding set stays as the runtime made it, and
// no_new_privs alone keeps it from granting anything (capabilities(7), security/commoncap.c).
func Keep(own, children procfs.CapSet) error {
	status, err := procfs.ReadStatus(unix.Getpid())
	if err != nil {
		return err
	}

	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}

	if status.Caps.Effective.Has(unix.CAP_SETPCAP) {
		if err := dropBounding(status.Caps.Bounding &^ children); err != nil {
			return err
		}
	}

	return setCapabilities(status.Caps.Permitted & own)
}

func dropBounding(drop procfs.CapSet) error {
	for n := range 64 {
		if !drop.Has(n) {
			continue
		}
		if err := onAllThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(n)); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", procfs.CapSet(1<<n).Names(), err)
		}
	}
	return nil
}

// setCapabilities sets the permitted and effective set of all threads, and empties the inheritable
// one.
func setCapabilities(keep procfs.CapSet) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	for i := range sets {
		half := uint32(keep >> (32 * i))
		sets[i] = unix.CapUserData{Effective: half, Permitted: half}
	}

	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}

	return nil
}

// onAllThreads calls a system call of two arguments on every thread. prctl wants its unused ones to
// be 0 (prctl(2)).
func onAllThreads(trap, first, second uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, first, second, 0, 0, 0, 0)
	// A kernel before 4.3 has no ambient set, and so nothing to clear.
	if errors.Is(errno, unix.EINVAL) && first == unix.PR_CAP_AMBIENT {
		return nil
	}
	if errno != 0 {
		return errno
	}
	return nil
}
