package enter

import (
	"errors"
	"fmt"
	"strings"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// A rung is how far the thread has come into its target.
type rung int

const (
	// lookOnly stays in its own container.
	lookOnly rung = iota
	// chrooted has the target's root, in its own mount namespace.
	chrooted
	// joined has the target's mount namespace and root.
	joined
)

// join takes the thread into the target as far as its capabilities carry and
// returns how far that was. note is told when that is less far than the
// capabilities promise.
func join(t *target, own procfs.Status, note func(format string, args ...any)) (rung, error) {
	caps := own.Caps.Effective
	if !caps.Has(unix.CAP_SYS_CHROOT) {
		return lookOnly, nil
	}
	if t.root < 0 {
		return lookOnly, t.noRoot(own)
	}

	reached := chrooted
	if caps.Has(unix.CAP_SYS_ADMIN) {
		if err := enterNamespaces(t); err == nil {
			reached = joined
		} else {
			note("%v; the shell has the target's files by chroot, not its mount namespace", err)
		}
	}

	// In the namespace too: the target may have changed its root in it.
	if err := unix.Fchdir(t.root); err != nil {
		return lookOnly, fmt.Errorf("enter the root of process %d: %w", t.PID, err)
	}
	if err := unix.Chroot("."); err != nil {
		return lookOnly, fmt.Errorf("chroot to the root of process %d: %w", t.PID, err)
	}

	return reached, nil
}

// enterNamespaces takes the thread into the target's mount and cgroup
// namespaces. The others are the pod's.
func enterNamespaces(t *target) error {
	if t.mount < 0 {
		return errors.New("open the target's mount namespace: permission denied")
	}
	// A thread that shares root and working directory with others cannot
	// change its mount namespace (setns(2)). Only here: the runtimes' seccomp
	// profiles forbid unshare without SYS_ADMIN, and chroot does without it.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the file system attributes: %w", err)
	}

	if t.cgroup >= 0 {
		// Only for how /proc/self/cgroup looks; kernels without these
		// namespaces live on.
		_ = unix.Setns(t.cgroup, unix.CLONE_NEWCGROUP)
	}

	if err := unix.Setns(t.mount, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns to the target's mount namespace: %w", err)
	}

	return nil
}

// changeDirectory goes to the target's working directory, or to the root when
// there is no way to it.
func changeDirectory(t *target) error {
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

// look prepares a look-only shell: it stays in its own root, in the directory
// through which the target's files are seen.
func look(t *target, own procfs.Status, env *environment, note func(format string, args ...any)) {
	root := procfs.Path(t.PID, "root")
	env.set("KDIAG_ROOT=" + root)
	directory := "/"
	switch {
	case t.root < 0:
		note("look-only: %v", t.noRoot(own))
	case unix.Fchdir(t.root) != nil:
		note("look-only: the target's root is closed to user %d; its files are under $KDIAG_ROOT", own.UIDs.FS)
	default:
		note("look-only: the shell is beside the target, without SYS_CHROOT; the target's files are under $KDIAG_ROOT (%s)", root)
		directory = root
	}

	if directory == "/" {
		_ = unix.Chdir("/")
	}

	// The kernel has no path for a directory outside the own mount namespace;
	// ash takes $PWD when it leads to the working directory.
	env.set("PWD=" + directory)
}
