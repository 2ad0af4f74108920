package enter

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"kdiag/applets"

	"golang.org/x/sys/unix"
)

// inMemory puts an executable into an anonymous file that nobody can change.
// The file is gone with the last process that runs it.
func inMemory(name string, content io.Reader) (fd int, err error) {
	// Kernels before 6.3 do not know MFD_EXEC, which later ones want to be
	// told (memfd_create(2)).
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
	// By way of a small buffer: fresh memory for all of it would take as long
	// as the rest of enter's work.
	if _, err := io.Copy(descriptor(fd), content); err != nil {
		return -1, fmt.Errorf("write the shell into memory: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, fmt.Errorf("seal the shell in memory: %w", err)
	}
	return fd, nil
}

// descriptor is an open file that package os knows nothing of.
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

// execute makes the process the program in fd. It returns only when that fails.
func execute(fd int, argv, env []string) error {
	argvp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return fmt.Errorf("arguments of the shell: %w", err)
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return fmt.Errorf("environment of the shell: %w", err)
	}
	// Package os raised the limit on open files. Exec puts it back before it
	// finds that there is no file of an empty name.
	_ = syscall.Exec("", nil, nil)
	// By descriptor: /proc/self/fd would be the target's /proc, if any, and
	// closed to a thread that has just changed its user.
	empty, none := []byte{0}, 0
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argvp[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, uintptr(none))
	runtime.KeepAlive(argvp)
	runtime.KeepAlive(envp)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		// Seccomp profiles older than the call.
		if err := syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), argv, env); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("execute the shell: %w", err)
		}
	}
	return fmt.Errorf("execute the shell: %w", errno)
}
