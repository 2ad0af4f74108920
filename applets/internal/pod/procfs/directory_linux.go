package procfs

import "golang.org/x/sys/unix"

// OpenDirectory opens a process's directory, "root" or "cwd", as an O_PATH descriptor: it leads to
// that directory whatever the caller's own root and mount namespace. It needs the right to trace
// the process, and returns -1 with an error.
func OpenDirectory(pid int, name string) (fd int, err error) {
	return unix.Open(FilePath(pid, name), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}
