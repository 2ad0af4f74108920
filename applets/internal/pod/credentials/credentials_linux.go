package credentials

import (
	"cmp"
	"fmt"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// ReadOwnStatus reads the status of the calling thread.
func ReadOwnStatus() (procfs.Status, error) { return procfs.ReadStatus(unix.Gettid()) }

// RunAsFSUser runs f on the calling thread with uid and gid as its file-system IDs, and with every
// permitted capability in effect. It needs SETUID and SETGID if they differ from the thread's own.
// The caller has locked the thread: the system calls are raw ones, since those of package syscall
// would change all threads.
func RunAsFSUser(uid, gid int, own procfs.Status, f func() error) error {
	// Change the group while the thread still has SETGID: before the user on the way out, after it
	// on the way back.
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
	if err := ThisThread.SetCapabilities(caps); err != nil {
		return fmt.Errorf("raise capabilities: %w", err)
	}

	return f()
}

// setFSID calls setfsuid or setfsgid, which report no failure: a second call, with an ID that does
// not exist, tells what holds now.
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

// MayBecomeFSUser reports whether RunAsFSUser may open what is closed to own. Without SYS_PTRACE
// the kernel's check passes for the target's own user and group, if the target has no capability
// that we lack.
func MayBecomeFSUser(own procfs.Status) bool {
	return !own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) && own.Caps.Effective.Has(unix.CAP_SETUID, unix.CAP_SETGID)
}

// SecurityLabels tells by what the node's security module, AppArmor or SELinux, confines two
// processes. They are empty if there is no such module.
type SecurityLabels struct{ Target, Own string }

// ReadSecurityLabels reads the labels of a target's process and of the calling one.
func ReadSecurityLabels(pid int) SecurityLabels {
	return SecurityLabels{procfs.ReadSecurityLabel(pid), procfs.ReadSecurityLabel(unix.Getpid())}
}

// explainApart says that the module may keep the two apart. It says nothing if it confines both
// alike.
func (l SecurityLabels) explainApart() string {
	if l.Target == l.Own {
		return ""
	}

	return fmt.Sprintf("the node's security module (AppArmor or SELinux) denies it: the target is confined as %q, this container as %q",
		l.Target, l.Own)
}

// ExplainClosed says why own may not look into a target's process, and whether SYS_PTRACE would
// change that. It goes through the kernel's conditions (kernel/ptrace.c, __ptrace_may_access); the
// security modules come last, and are asked with SYS_PTRACE, too.
func ExplainClosed(target, own procfs.Status, labels SecurityLabels) (why string, ptraceHelps bool) {
	if own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) {
		return cmp.Or(labels.explainApart(), "a security module of the node denies it"), false
	}
	if why := explainClosedByUser(target, own); why != "" {
		return why, true
	}
	if why := labels.explainApart(); why != "" {
		return why, false
	}

	return "the target's process is closed to others (not dumpable): " +
		"it has changed its user or capabilities since its start, or closed itself", true
}

// explainClosedByUser says what is wrong with users and capabilities for a reader without
// SYS_PTRACE, and nothing if they are as they must be.
func explainClosedByUser(target, own procfs.Status) string {
	uids, gids, caps := target.UIDs, target.GIDs, own.Caps
	sameUser := uids.Effective == own.UIDs.FS && gids.Effective == own.GIDs.FS

	switch more := target.Caps.Permitted &^ caps.Permitted; {
	case !uids.AllSame() || !gids.AllSame():
		return "the target runs under more than one user or group ID at once"
	case !sameUser && !caps.Effective.Has(unix.CAP_SETUID, unix.CAP_SETGID):
		return fmt.Sprintf("the target runs as user %d, group %d; this container runs as user %d, group %d",
			uids.Effective, gids.Effective, own.UIDs.FS, own.GIDs.FS)
	case more != 0:
		return "the target has capabilities that this container lacks: " + more.Names()
	}

	return ""
}
