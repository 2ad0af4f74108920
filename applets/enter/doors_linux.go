package enter

import (
	"errors"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// A target is the process whose container is entered, and what was opened of
// it. The descriptors are -1 where they could not be opened; all are closed by
// execve.
type target struct {
	procfs.Stat
	status procfs.Status
	// root and cwd are O_PATH descriptors: in whichever namespace and below
	// whichever root the thread is, they lead to the target's directories.
	root, cwd int
	// mount and cgroup are namespaces.
	mount, cgroup int
	// rootErr says why there is no root.
	rootErr error
	env     []string
	// envCut says that there was more of it.
	envCut bool
	envErr error
}

// open opens everything of the process that is behind the kernel's check for
// ptrace (ptrace(2), "PTRACE_MODE_READ_FSCREDS").
func open(p procfs.Stat, own procfs.Status) (*target, error) {
	status, err := procfs.ReadStatus(p.PID)
	if err != nil {
		return nil, err
	}

	t := &target{Stat: p, status: status, root: -1, cwd: -1, mount: -1, cgroup: -1}

	t.openAll()
	if t.denied() && credentials.MayBecomeFSUser(own) {
		err := credentials.AsFSUser(status.UIDs.Effective, status.GIDs.Effective, own, func() error {
			t.openAll()
			return nil
		})
		if err != nil {
			return nil, err
		}
	}

	// The PID may have become another process's since it was chosen.
	if now, err := procfs.ReadStat(p.PID); err != nil || now.Start != p.Start {
		return nil, fmt.Errorf("process %d has exited", p.PID)
	}

	return t, nil
}

// maxEnvironment is how much of the target's environment is read, in bytes. It is the target's
// memory, and may be as long as it likes.
const maxEnvironment = 1 << 20

func (t *target) openAll() {
	const path = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	t.root, t.rootErr = unix.Open(procfs.Path(t.PID, "root"), path, 0)
	t.cwd, _ = unix.Open(procfs.Path(t.PID, "cwd"), path, 0)
	t.mount, _ = unix.Open(procfs.Path(t.PID, "ns/mnt"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.cgroup, _ = unix.Open(procfs.Path(t.PID, "ns/cgroup"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.env, t.envCut, t.envErr = procfs.ReadEnvironment(t.PID, maxEnvironment)
}

func (t *target) denied() bool {
	return errors.Is(t.rootErr, unix.EACCES) || errors.Is(t.rootErr, unix.EPERM)
}

// openProcess opens the process's directory in the target's own /proc, once the thread is in the
// target's root; -1 where there is none. One in kdiag's /proc would be a way into kdiag's container
// for a target that may look into the shell: by ".." from there.
func openProcess(t *target) int {
	fd, err := unix.Openat2(t.root, fmt.Sprintf("proc/%d", t.PID), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return -1
	}

	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		_ = unix.Close(fd)
		return -1
	}

	return fd
}

// noRoot explains why the target's root could not be opened.
func (t *target) noRoot(own procfs.Status) error {
	err := fmt.Errorf("open the root of process %d: %w", t.PID, t.rootErr)
	if !t.denied() {
		return err
	}

	why, ptraceHelps := credentials.WhyClosed(t.status, own, credentials.ReadLabels(t.PID))
	err = fmt.Errorf("%w: %s", err, why)
	if ptraceHelps {
		return applets.WithHint(err, "a container with SYS_PTRACE may: kdiag shell --profile=chroot")
	}

	return applets.WithHint(err, "no profile of kdiag's changes that: the node's policy must let the two trace each other (ptrace read)")
}
