package enter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"kdiag/applets"

	"golang.org/x/sys/unix"
)

// seals keep a file in memory from being changed.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// writeToMemory writes an executable to an anonymous file that nobody can change. The file goes
// with the last process that runs it.
func writeToMemory(name string, content io.Reader) (fd int, err error) {
	// Kernels before 6.3 do not know MFD_EXEC, which later ones want to be told (memfd_create(2)).
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err = unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if errors.Is(err, unix.EACCES) {
		err = applets.WithHint(err, "the node forbids executables in memory (sysctl vm.memfd_noexec=2)")
	}
	if err != nil {
		return -1, fmt.Errorf("make a file in memory: %w", err)
	}

	// Through a small buffer: fresh memory for all of it would take as long as the rest of enter's
	// work.
	if _, err := io.Copy(descriptor(fd), content); err != nil {
		return -1, fmt.Errorf("write %s into memory: %w", name, err)
	}

	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, fmt.Errorf("seal %s in memory: %w", name, err)
	}

	return fd, nil
}

// The descriptors that the shell starts with. It keeps them from the programs that it executes,
// other than itself. Keep in step with scratch-shell/busybox/exec.c and mounts.c.
const (
	// programFD is the file in memory that holds the shell.
	programFD = 60
	// processFD is the directory of the target's process in /proc.
	processFD = 61
	// programListFD is the list of the programs that the user has brought along. The first of them
	// is at the next number. Keep in step with scratch-shell/busybox/programs.c.
	programListFD = 62
)

// leaveOpen gives an open file the number at, where it stays open in what is executed. It does
// nothing if fd is negative.
func leaveOpen(fd, at int) error {
	if fd < 0 {
		return nil
	}

	if fd == at {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		return err
	}

	if err := unix.Dup3(fd, at, 0); err != nil {
		return fmt.Errorf("leave a file open for the shell at number %d: %w", at, err)
	}

	return nil
}

// A descriptor writes to an open file that package os knows nothing of.
type descriptor int

func (d descriptor) Write(p []byte) (int, error) {
	for written := 0; ; {
		n, err := unix.Write(int(d), p[written:])
		written += max(n, 0)
		if written == len(p) || err != nil && !errors.Is(err, unix.EINTR) {
			return written, err
		}
	}
}

// executeShell makes the process the program in fd. It returns only when that fails.
func executeShell(fd int, argv, env []string) error {
	argvp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return fmt.Errorf("arguments of the shell: %w", err)
	}

	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return fmt.Errorf("environment of the shell: %w", err)
	}

	// Package os has raised the limit on open files. Exec puts it back before it finds that there
	// is no file of an empty name.
	_ = syscall.Exec("", nil, nil)

	// Go leaves these signals ignored where it found them so, and a shell that ignored SIGHUP
	// would outlive its session. After execve, signals that were caught have their default action
	// again.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT)

	// By descriptor: a path, /proc/self/fd too, would be the target's.
	empty, none := []byte{0}, 0
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argvp[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, uintptr(none))
	runtime.KeepAlive(argvp)
	runtime.KeepAlive(envp)

	err = fmt.Errorf("execute the shell: %w", errno)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		err = applets.WithHint(err, "the shell needs execveat (Linux 3.19 or later), which the node's kernel or seccomp profile does not allow")
	}

	return err
}
