package enter

import (
	"fmt"
	"slices"
	"unsafe"

	"kdiag/applets"
	"kdiag/applets/internal/pod/confine"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// Everything in this file is about the calling thread alone, which the caller has locked: the
// system calls are raw ones, since those of package syscall would change all threads.

// takeRights gives the thread the rights that the shell is to have: the target's, or kdiag's own
// without those that only joining the target needs.
func takeRights(t *targetProcess, own procfs.Status, opts options, note noteFunc) error {
	if !opts.AsTarget {
		if opts.KeepCapabilities {
			return nil
		}
		return giveUpCapabilities(joinCapabilities(opts), own)
	}

	// The runtime's filter allows a container with SYS_ADMIN more than it allows the target.
	if own.Caps.Effective.Has(unix.CAP_SYS_ADMIN) {
		if err := confine.WithoutAdmin(); err != nil {
			return fmt.Errorf("--as-target: %w", err)
		}
	}

	missing, err := becomeTarget(t.status, own)
	if err != nil {
		return applets.WithHint(fmt.Errorf("--as-target: %w", err),
			"without --as-target, the shell runs as user %d", own.UIDs.Effective)
	}

	if missing != 0 {
		note("the shell lacks capabilities that the target has: this container has no %s", missing.Names())
	}

	return nil
}

// joinCapabilities returns the capabilities that a shell no longer needs once it is in the target.
// SYS_PTRACE stays for what shows other users' processes (netstat -p, ls -l /proc/PID/exe), but
// only if every process that it reaches is the target's.
func joinCapabilities(opts options) procfs.CapSet {
	set := procfs.CapSet(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_CHROOT)
	if opts.Target.SharedPIDs {
		set |= 1 << unix.CAP_SYS_PTRACE
	}
	return set
}

// becomeTarget gives the thread the target's user, groups, capability sets and no_new_privs, so
// that what it executes has the rights of a program that the target executes. It returns the
// capabilities that the target has in its sets and the thread cannot have.
func becomeTarget(target, own procfs.Status) (missing procfs.CapSet, err error) {
	giveStreams(target.UIDs.Effective)

	// Before the user changes: afterwards there may be no SETPCAP.
	if err := credentials.ThisThread.DropBounding(own.Caps.Bounding &^ target.Caps.Bounding); err != nil {
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
	if err := credentials.ThisThread.SetCapabilities(caps); err != nil {
		return 0, fmt.Errorf("set capabilities: %w", err)
	}
	if err := credentials.ThisThread.SetAmbient(ambient); err != nil {
		return 0, err
	}

	if target.NoNewPrivileges {
		if err := credentials.ThisThread.SetNoNewPrivileges(); err != nil {
			return 0, err
		}
	}

	// What root executes has its bounding set, too (capabilities(7)).
	wanted := target.Caps.Ambient
	if target.UIDs.Real == 0 || target.UIDs.Effective == 0 {
		wanted |= target.Caps.Bounding | target.Caps.Inheritable
	}

	return wanted &^ own.Caps.Permitted, nil
}

// giveUpCapabilities takes capabilities from all of the thread's sets. Without SETPCAP the
// bounding set stays as it is; then no_new_privs keeps execve from granting what is in it
// (security/commoncap.c, cap_bprm_creds_from_file).
func giveUpCapabilities(drop procfs.CapSet, own procfs.Status) error {
	if own.Caps.Bounding&drop == 0 && own.Caps.Permitted&drop == 0 {
		return nil
	}

	if own.Caps.Effective.Has(unix.CAP_SETPCAP) {
		if err := credentials.ThisThread.DropBounding(own.Caps.Bounding & drop); err != nil {
			return err
		}
	} else if err := credentials.ThisThread.SetNoNewPrivileges(); err != nil {
		return err
	}

	// What leaves the permitted or the inheritable set leaves the ambient one, too.
	caps := own.Caps
	caps.Permitted &^= drop
	caps.Effective = caps.Permitted & own.Caps.Effective
	caps.Inheritable &^= drop
	if err := credentials.ThisThread.SetCapabilities(caps); err != nil {
		return fmt.Errorf("give up %s: %w", (own.Caps.Permitted & drop).Names(), err)
	}

	return nil
}

// giveStreams makes a user the owner of the terminal or the pipes that are the process's standard
// streams, as runtimes do for the user of a process that they start: /dev/stdout opens them anew.
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

// setIDs sets groups and user, as far as they differ from the thread's, and keeps the permitted
// capabilities.
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

// setGroups sets the supplementary groups.
func setGroups(list []int) error {
	groups := make([]uint32, len(list))
	for i, g := range list {
		groups[i] = uint32(g)
	}

	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
	return credentials.ErrnoError(errno)
}

// setResIDs sets the real, effective and saved ID, by setresuid or setresgid.
func setResIDs(trap uintptr, ids procfs.IDs) error {
	_, _, errno := unix.RawSyscall(trap, uintptr(ids.Real), uintptr(ids.Effective), uintptr(ids.Saved))
	return credentials.ErrnoError(errno)
}
