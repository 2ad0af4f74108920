package credentials

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// Threads says whose capabilities a change is about. They are an attribute of a thread, not of a
// process (capabilities(7)).
type Threads int

const (
	// ThisThread is the calling one, which the caller has locked.
	ThisThread Threads = iota
	// AllThreads are those of the process, with those that the runtime starts later.
	AllThreads
)

// callPrctl calls prctl on the threads. It wants unused arguments to be 0 (prctl(2)).
func (t Threads) callPrctl(option, first, second uintptr) error {
	var errno unix.Errno
	if t == AllThreads {
		_, _, errno = syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, first, second, 0, 0, 0)
	} else {
		_, _, errno = unix.RawSyscall6(unix.SYS_PRCTL, option, first, second, 0, 0, 0)
	}

	return ErrnoError(errno)
}

// SetNoNewPrivileges keeps every later execve from granting more than the threads have.
func (t Threads) SetNoNewPrivileges() error {
	if err := t.callPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// KeepCapabilitiesOnce has the threads keep their permitted capabilities when they change their user
// next, and until the next execve.
func (t Threads) KeepCapabilitiesOnce() error {
	if err := t.callPrctl(unix.PR_SET_KEEPCAPS, 1, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
}

// SetCapabilities sets the effective, permitted and inheritable set.
func (t Threads) SetCapabilities(caps procfs.Capabilities) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(caps.Effective >> shift),
			Permitted:   uint32(caps.Permitted >> shift),
			Inheritable: uint32(caps.Inheritable >> shift),
		}
	}

	if t == ThisThread {
		return unix.Capset(&header, &data[0])
	}

	// The pointers become numbers in the call itself: nothing else keeps them alive
	// (unsafe.Pointer).
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	return ErrnoError(errno)
}

// DropBounding takes capabilities from the bounding set. It needs SETPCAP.
func (t Threads) DropBounding(drop procfs.CapSet) error {
	for n := range 64 {
		if !drop.Has(n) {
			continue
		}
		if err := t.callPrctl(unix.PR_CAPBSET_DROP, uintptr(n), 0); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", procfs.CapSet(1<<n).Names(), err)
		}
	}
	return nil
}

// SetAmbient makes a set the ambient one, which the permitted and inheritable set must hold. A
// kernel before 4.3 has no ambient set, and so nothing to clear.
func (t Threads) SetAmbient(set procfs.CapSet) error {
	err := t.callPrctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}

	for n := range 64 {
		if !set.Has(n) {
			continue
		}
		if err := t.callPrctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n)); err != nil {
			return fmt.Errorf("make %s ambient: %w", procfs.CapSet(1<<n).Names(), err)
		}
	}

	return nil
}

// ErrnoError makes an error of a raw system call's errno. It returns nil for 0, which as an error
// would not be nil.
func ErrnoError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
