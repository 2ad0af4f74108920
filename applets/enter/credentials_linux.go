package enter

import (
	"fmt"
	"slices"
	"unsafe"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// Everything in this file is about the calling thread alone, which the caller
// has locked: raw system calls, not package syscall's, which change all
// threads.

// become gives the thread the target's user, groups, capability sets and
// no_new_privs, so that what it executes has what a program executed by the
// target would have. It returns the capabilities that the target has in its
// sets and the thread cannot have.
func become(target, own procfs.Status) (missing procfs.CapSet, err error) {
	giveStreams(target.UIDs.Effective)
	if err := dropBounding(own.Caps.Bounding &^ target.Caps.Bounding); err != nil {
		return 0, err
	}
	if err := setIDs(target, own); err != nil {
		return 0, err
	}

	caps := procfs.Capabilities{
		Permitted:   target.Caps.Permitted & own.Caps.Permitted,
		Effective:   target.Caps.Effective & own.Caps.Permitted,
		Inheritable: target.Caps.Inheritable & own.Caps.Permitted,
	}
	// The sets must hold what is made ambient until it is.
	ambient := target.Caps.Ambient & own.Caps.Permitted
	caps.Permitted |= ambient
	caps.Inheritable |= ambient
	if err := credentials.SetCaps(caps); err != nil {
		return 0, fmt.Errorf("set capabilities: %w", err)
	}
	if err := setAmbient(ambient); err != nil {
		return 0, err
	}

	if target.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return 0, fmt.Errorf("set no_new_privs: %w", err)
		}
	}

	wanted := target.Caps.Ambient
	if target.UIDs.Real == 0 || target.UIDs.Effective == 0 {
		wanted |= target.Caps.Bounding | target.Caps.Inheritable
	}

	return wanted &^ own.Caps.Permitted, nil
}

// giveUp takes capabilities from all of the thread's sets. Without SETPCAP the bounding set stays as
// it is; then no_new_privs keeps execve from granting what is in it (security/commoncap.c,
// cap_bprm_creds_from_file).
func giveUp(drop procfs.CapSet, own procfs.Status) error {
	if own.Caps.Bounding&drop == 0 && own.Caps.Permitted&drop == 0 {
		return nil
	}

	if own.Caps.Effective.Has(unix.CAP_SETPCAP) {
		if err := dropBounding(own.Caps.Bounding & drop); err != nil {
			return err
		}
	} else if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}

	// What leaves the permitted or the inheritable set leaves the ambient one, too.
	caps := own.Caps
	caps.Permitted &^= drop
	caps.Effective = caps.Permitted & own.Caps.Effective
	caps.Inheritable &^= drop
	if err := credentials.SetCaps(caps); err != nil {
		return fmt.Errorf("give up %s: %w", (own.Caps.Permitted & drop).Names(), err)
	}

	return nil
}

func dropBounding(drop procfs.CapSet) error {
	for n := range 64 {
		if !drop.Has(n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", procfs.CapSet(1<<n).Names(), err)
		}
	}
	return nil
}

// giveStreams makes the user the owner of the terminal or the pipes that the
// process has as standard streams, as runtimes do for the user that they start
// a process as: /dev/stdout opens them anew.
func giveStreams(uid int) {
	for fd := range 3 {
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) != nil {
			continue
		}
		_, notTerminal := unix.IoctlGetTermios(fd, unix.TCGETS)
		if notTerminal == nil || stat.Mode&unix.S_IFMT == unix.S_IFIFO {
			// Without CHOWN they stay as they are.
			_ = unix.Fchown(fd, uid, -1)
		}
	}
}

// setIDs sets groups and user, as far as they differ from the thread's, and
// keeps the permitted capabilities.
func setIDs(target, own procfs.Status) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}

	if !slices.Equal(target.Groups, own.Groups) {
		if err := setGroups(target.Groups); err != nil {
			return fmt.Errorf("take the target's groups %v: %w", target.Groups, err)
		}
	}

	if err := setResIDs(unix.SYS_SETRESGID, target.GIDs); err != nil {
		return fmt.Errorf("become the target's group %d: %w", target.GIDs.Effective, err)
	}
	if err := setResIDs(unix.SYS_SETRESUID, target.UIDs); err != nil {
		return fmt.Errorf("become the target's user %d: %w", target.UIDs.Effective, err)
	}

	return nil
}

func setGroups(list []int) error {
	groups := make([]uint32, len(list))
	for i, g := range list {
		groups[i] = uint32(g)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
	return errnoError(errno)
}

func setResIDs(trap uintptr, ids procfs.IDs) error {
	_, _, errno := unix.RawSyscall(trap, uintptr(ids.Real), uintptr(ids.Effective), uintptr(ids.Saved))
	return errnoError(errno)
}

func errnoError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func setAmbient(set procfs.CapSet) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}

	for n := range 64 {
		if set.Has(n) {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
				return fmt.Errorf("make %s ambient: %w", procfs.CapSet(1<<n).Names(), err)
			}
		}
	}

	return nil
}
