package lastuse

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// markFile lies in the container's own /dev, which is in memory, writable to root alone, and seen
// by no other container.
const markFile = "/dev/kdiag-used"

// MarkUsed notes that the container is in use. A process that may not write the file, as in
// profile restricted, leaves no mark; the manager then sees it only while it lives. Whoever may
// exec in the container can put something else in the file's place: MarkUsed follows no link,
// waits for nothing and touches nothing but a regular file.
func MarkUsed() {
	fd, err := unix.Open(markFile, unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0o600)
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

// ReadLastUse returns when the container was last marked as used, the zero time for never.
func ReadLastUse() time.Time {
	info, err := os.Lstat(markFile)
	if err != nil || !info.Mode().IsRegular() {
		return time.Time{}
	}

	return info.ModTime()
}
