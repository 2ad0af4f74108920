package enter

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// A targetProcess holds what was opened of the process whose container is entered. A descriptor
// that could not be opened is -1; execve closes all of them.
type targetProcess struct {
	procfs.Stat
	status procfs.Status
	// root and cwd are O_PATH descriptors: they lead to the target's directories in whichever
	// namespace and below whichever root the thread is.
	root, cwd int
	// mount and cgroup are namespaces.
	mount, cgroup int
	// rootErr says why there is no root.
	rootErr error
	// jail is the root that the process has made its own, empty where that is the container's. It is
	// levels below root, if that could be opened in its stead: else jailErr says why not.
	jail    string
	levels  int
	jailErr error
	env     []string
	// envCut says that env was cut short.
	envCut bool
	envErr error
}

// openTarget opens everything of a process that is behind the kernel's check for ptrace
// (ptrace(2), "PTRACE_MODE_READ_FSCREDS").
func openTarget(p procfs.Stat, own procfs.Status) (*targetProcess, error) {
	status, err := procfs.ReadStatus(p.Thread)
	if err != nil {
		return nil, err
	}

	t := &targetProcess{Stat: p, status: status, root: -1, cwd: -1, mount: -1, cgroup: -1}
	t.openAll()
	if t.isDenied() && credentials.MayBecomeFSUser(own) {
		err := credentials.RunAsFSUser(status.UIDs.Effective, status.GIDs.Effective, own, func() error {
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

// openAll opens what it may, and notes why it could not open the root and the environment.
func (t *targetProcess) openAll() {
	t.root, t.rootErr = procfs.OpenDirectory(t.Thread, "root")
	t.cwd, _ = procfs.OpenDirectory(t.Thread, "cwd")
	t.mount, _ = unix.Open(procfs.FilePath(t.Thread, "ns/mnt"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.cgroup, _ = unix.Open(procfs.FilePath(t.Thread, "ns/cgroup"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	t.env, t.envCut, t.envErr = procfs.ReadEnvironment(t.Thread, wire.MaxEnvironment)
	t.leaveJail()
}

// leaveJail takes the container's root in place of one that the process has made its own, as an exec
// would.
func (t *targetProcess) leaveJail() {
	if t.root < 0 {
		return
	}

	top, levels, err := procfs.OpenTop(t.root)
	if err == nil && levels == 0 {
		_ = unix.Close(top)
		return
	}

	t.jail, _ = os.Readlink(procfs.FilePath(t.Thread, "root"))
	t.levels, t.jailErr = levels, err
	if err == nil {
		_ = unix.Close(t.root)
		t.root = top
	}
}

// noteJail says where the shell is if the target's first process has a root of its own.
func (t *targetProcess) noteJail(note noteFunc) {
	switch {
	case t.jailErr != nil:
		note("process %d has a root of its own, %q, and the shell, too: the container's cannot be opened: %v", t.PID, t.jail, t.jailErr)
	case t.levels > 0:
		note("process %d has a root of its own, %q; the shell has the container's", t.PID, t.jail)
	}
}

// rootPath returns the path by which a shell outside sees the target's root.
func (t *targetProcess) rootPath() string {
	return procfs.FilePath(t.Thread, "root") + strings.Repeat("/..", t.levels)
}

// isDenied reports whether the kernel keeps the target's root from this container.
func (t *targetProcess) isDenied() bool {
	return errors.Is(t.rootErr, unix.EACCES) || errors.Is(t.rootErr, unix.EPERM)
}

// openProcDirectory opens the process's directory in the target's own /proc, once the thread is in
// the target's root. It returns -1 if there is none. The directory in kdiag's /proc would be a way
// into kdiag's container for a target that may look into the shell: by ".." from there.
func openProcDirectory(t *targetProcess) int {
	fd, err := unix.Openat2(t.root, fmt.Sprintf("proc/%d", t.Thread), &unix.OpenHow{
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

// explainNoRoot explains why the target's root could not be opened.
func (t *targetProcess) explainNoRoot(own procfs.Status) error {
	err := fmt.Errorf("open the root of process %d: %w", t.PID, t.rootErr)
	if !t.isDenied() {
		return err
	}

	why, ptraceHelps := credentials.ExplainClosed(t.status, own, credentials.ReadSecurityLabels(t.Thread))
	err = fmt.Errorf("%w: %s", err, why)
	if ptraceHelps {
		return applets.WithHint(err, "a container with SYS_PTRACE can: kdiag shell --profile=chroot")
	}

	return applets.WithHint(err, "no kdiag profile changes that: the node's policy must let the two containers trace each other (ptrace read)")
}
