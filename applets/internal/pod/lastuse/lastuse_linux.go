package lastuse

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mark is a file in the container's own /dev, which is in memory, writable to root alone, and in no
// other container's sight.
const mark = "/dev/kdiag-used"

// Mark notes that the container is in use. A process that may not write there, as in profile
// restricted, goes without: its container stays long enough to be seen in use by its processes.
// Whoever may exec in the container can put something else there: no link is followed, nothing is
// waited for, and nothing but a file is touched.
func Mark() {
	fd, err := unix.Open(mark, unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	defer unix.Close(fd)

	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFREG {
		// By descriptor (utimensat(2), futimens): both times are now.
		now := unix.NsecToTimeval(time.Now().UnixNano())
		_ = unix.Futimes(fd, []unix.Timeval{now, now})
	}
}

// Since returns when the container was last noted to be in use; the zero time for never.
func Since() time.Time {
	info, err := os.Lstat(mark)
	if err != nil || !info.Mode().IsRegular() {
		return time.Time{}
	}
	return info.ModTime()
}
