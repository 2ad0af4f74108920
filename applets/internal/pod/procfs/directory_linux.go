package procfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// OpenDirectory opens a process's directory, "root" or "cwd", as an O_PATH descriptor: it leads to
// that directory whatever the caller's own root and mount namespace. It needs the right to trace
// the process, and returns -1 with an error.
func OpenDirectory(pid int, name string) (fd int, err error) {
	return unix.Open(FilePath(pid, name), openDirectory, 0)
}

const openDirectory = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// maxDepth limits how deep a directory may be for OpenTop. No path leads deeper.
const maxDepth = unix.PathMax / 2

// OpenTop opens the root of the mount namespace that a directory is in, and returns how many levels
// it is above the directory: 0 for a directory that is the root itself. From a descriptor of another
// mount namespace ".." leads up to that namespace's own root, where it leads no further: the
// caller's root does not stop it. A process that has changed its root leads to the container's root
// in this way, which is where an exec begins.
func OpenTop(directory int) (fd, levels int, err error) {
	at, err := unix.Openat(directory, ".", openDirectory, 0)
	for err == nil && levels < maxDepth {
		var above int
		if above, err = unix.Openat(at, "..", openDirectory, 0); err != nil {
			break
		}

		var isTop bool
		if isTop, err = isSameDirectory(at, above); isTop {
			_ = unix.Close(above)
			return at, levels, nil
		}

		_ = unix.Close(at)
		at = above
		levels++
	}

	if at >= 0 {
		_ = unix.Close(at)
	}
	if err == nil {
		err = fmt.Errorf("it is deeper than %d directories", maxDepth)
	}
	return -1, 0, err
}

// isSameDirectory reports whether two descriptors are of one directory in one mount.
func isSameDirectory(a, b int) (bool, error) {
	var stats [2]unix.Statx_t
	for i, fd := range []int{a, b} {
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, &stats[i]); err != nil {
			return false, err
		}
	}

	// Kernels before 5.8 do not tell the mount, and leave it 0.
	one, other := &stats[0], &stats[1]
	return one.Ino == other.Ino && one.Dev_major == other.Dev_major && one.Dev_minor == other.Dev_minor && one.Mnt_id == other.Mnt_id, nil
}
