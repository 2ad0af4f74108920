package credentials

import (
	"cmp"
	"fmt"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// Own is what /proc tells about the calling thread.
func Own() (procfs.Status, error) { return procfs.ReadStatus(unix.Gettid()) }

// AsFSUser runs f with the target's user and group as the ones that file
// access is checked by, and with every permitted capability in effect. It needs
// SETUID and SETGID where they differ from the thread's.
func AsFSUser(uid, gid int, own procfs.Status, f func() error) error {
	// The user last when leaving 0, first when coming back: the group needs SETGID.
	if err := setFSID(unix.SYS_SETFSGID, gid); err != nil {
		return fmt.Errorf("setfsgid %d: %w", gid, err)
	}
	defer setFSID(unix.SYS_SETFSGID, own.GIDs.FS) //nolint:errcheck // back to what it was

	if err := setFSID(unix.SYS_SETFSUID, uid); err != nil {
		return fmt.Errorf("setfsuid %d: %w", uid, err)
	}
	// Back from another user to 0, the kernel raises the capabilities that it
	// dropped on the way out (capabilities(7), "Effect of user ID changes").
	defer setFSID(unix.SYS_SETFSUID, own.UIDs.FS) //nolint:errcheck // back to what it was

	caps := own.Caps
	caps.Effective = caps.Permitted
	if err := SetCaps(caps); err != nil {
		return fmt.Errorf("raise capabilities: %w", err)
	}

	return f()
}

// setFSID calls setfsuid or setfsgid, which report no failure: a second call,
// with an ID that is none, tells what holds now.
func setFSID(trap uintptr, id int) error {
	const none = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(trap, uintptr(id), 0, 0); errno != 0 {
		return errno
	}
	if now, _, _ := unix.RawSyscall(trap, none, 0, 0); int(now) != id {
		return unix.EPERM
	}
	return nil
}

// SetCaps sets the effective, permitted and inheritable set.
func SetCaps(caps procfs.Capabilities) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{}
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(caps.Effective >> shift),
			Permitted:   uint32(caps.Permitted >> shift),
			Inheritable: uint32(caps.Inheritable >> shift),
		}
	}

	return unix.Capset(&header, &data[0])
}

// MayBecomeFSUser reports whether AsFSUser may open what is closed to own.
// Without SYS_PTRACE the kernel's check passes for the target's own user and
// group, when it has no capability that we lack.
func MayBecomeFSUser(own procfs.Status) bool {
	return !own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) && own.Caps.Effective.Has(unix.CAP_SETUID, unix.CAP_SETGID)
}

// Labels are what the node's security module, AppArmor or SELinux, confines two processes by; empty
// where there is none.
type Labels struct{ Target, Own string }

// ReadLabels reads those of a target's process and of the calling one.
func ReadLabels(pid int) Labels {
	return Labels{procfs.ReadSecurityLabel(pid), procfs.ReadSecurityLabel(unix.Getpid())}
}

// apart says that the module may keep the two apart; empty where it confines both alike.
func (l Labels) apart() string {
	if l.Target == l.Own {
		return ""
	}
	return fmt.Sprintf("the node's security module (AppArmor or SELinux) refuses it: the target is confined as %q, this container as %q",
		l.Target, l.Own)
}

// WhyClosed is why own may not look into a target's process, and whether SYS_PTRACE would change
// that. It goes through the kernel's conditions (kernel/ptrace.c, __ptrace_may_access); the security
// modules come last, and are asked with SYS_PTRACE, too.
func WhyClosed(target, own procfs.Status, labels Labels) (why string, ptraceHelps bool) {
	if own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) {
		return cmp.Or(labels.apart(), "a security module of the node's refuses it"), false
	}
	if why := whyClosedByUser(target, own); why != "" {
		return why, true
	}
	if why := labels.apart(); why != "" {
		return why, false
	}

	return "the target's process is closed to others (not dumpable): " +
		"it changed its user or its capabilities after it was started, or asked for it", true
}

// whyClosedByUser is empty where users and capabilities are as they must be for a reader that has
// no SYS_PTRACE.
func whyClosedByUser(target, own procfs.Status) string {
	uids, gids, caps := target.UIDs, target.GIDs, own.Caps
	sameUser := uids.Effective == own.UIDs.FS && gids.Effective == own.GIDs.FS
	switch more := target.Caps.Permitted &^ caps.Permitted; {
	case !uids.One() || !gids.One():
		return "the target runs under more than one user or group ID at once"
	case !sameUser && !caps.Effective.Has(unix.CAP_SETUID, unix.CAP_SETGID):
		return fmt.Sprintf("the target runs as user %d, group %d, this container as %d, %d",
			uids.Effective, gids.Effective, own.UIDs.FS, own.GIDs.FS)
	case more != 0:
		return "the target has capabilities that this container has not: " + more.Names()
	}

	return ""
}
