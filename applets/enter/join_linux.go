package enter

import (
	"errors"
	"fmt"
	"strings"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// A reach tells how far the thread has come into its target.
type reach int

const (
	// lookOnly leaves it in its own container.
	lookOnly reach = iota
	// chrooted gives it the target's root, in its own mount namespace.
	chrooted
	// joined gives it the target's mount namespace and root.
	joined
)

// joinTarget takes the thread into the target as far as its capabilities allow, and returns how far
// that was. It prints a note if that is less than the capabilities promise.
func joinTarget(t *targetProcess, own procfs.Status, note noteFunc) (reach, error) {
	caps := own.Caps.Effective
	if !caps.Has(unix.CAP_SYS_CHROOT) {
		return lookOnly, nil
	}
	if t.root < 0 {
		return lookOnly, t.explainNoRoot(own)
	}

	reached := chrooted
	if caps.Has(unix.CAP_SYS_ADMIN) {
		if err := enterNamespaces(t); err == nil {
			reached = joined
		} else {
			note("%v; the shell uses chroot instead", err)
		}
	}

	// After joining the namespace too: the target may have changed its root in it.
	if err := unix.Fchdir(t.root); err != nil {
		return lookOnly, fmt.Errorf("enter the root of process %d: %w", t.PID, err)
	}
	if err := unix.Chroot("."); err != nil {
		return lookOnly, fmt.Errorf("chroot to the root of process %d: %w", t.PID, err)
	}

	return reached, nil
}

// enterNamespaces takes the thread into the target's mount and cgroup namespaces. The others are
// the pod's.
func enterNamespaces(t *targetProcess) error {
	if t.mount < 0 {
		return errors.New("open the target's mount namespace: permission denied")
	}

	// A thread that shares root and working directory with others cannot change its mount
	// namespace (setns(2)). Only here: the runtimes' seccomp profiles forbid unshare without
	// SYS_ADMIN, which chroot does not need.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the file system attributes: %w", err)
	}

	if t.cgroup >= 0 {
		// Only for what /proc/self/cgroup shows. A kernel without cgroup namespaces is no
		// obstacle.
		_ = unix.Setns(t.cgroup, unix.CLONE_NEWCGROUP)
	}

	if err := unix.Setns(t.mount, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns to the target's mount namespace: %w", err)
	}

	return nil
}

// changeDirectory goes to the target's working directory, or to the root if there is no way to it.
func changeDirectory(t *targetProcess) error {
	if t.cwd >= 0 && unix.Fchdir(t.cwd) == nil {
		// The target's may be deleted, or outside its root.
		var path [unix.PathMax]byte
		if n, err := unix.Getcwd(path[:]); err == nil && strings.HasPrefix(string(path[:n]), "/") {
			return nil
		}
	}

	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("change to the target's root directory: %w", err)
	}

	return nil
}

// prepareLookOnly prepares a shell that stays in its own root. It starts in the directory through
// which it sees the target's files.
func prepareLookOnly(t *targetProcess, own procfs.Status, env *environment, note noteFunc) {
	root := t.rootPath()
	env.set("KDIAG_ROOT=" + root)

	directory := "/"
	switch {
	case t.root < 0:
		note("look-only: %v", t.explainNoRoot(own))
	case unix.Fchdir(t.root) != nil:
		note("look-only: user %d cannot enter the target's root; its files are under $KDIAG_ROOT", own.UIDs.FS)
	default:
		note("look-only: without SYS_CHROOT, the shell stays outside the target; the target's files are under $KDIAG_ROOT (%s)", root)
		directory = root
	}

	if directory == "/" {
		_ = unix.Chdir("/")
	}

	// The kernel has no path for a directory outside the process's own mount namespace; ash trusts
	// $PWD if it leads to the working directory.
	env.set("PWD=" + directory)
}
