package lastuse

import (
	"os"
	"time"
)

// mark is a file in the container's own /dev, which is in memory, writable to root alone, and in no
// other container's sight.
const mark = "/dev/kdiag-used"

// Mark notes that the container is in use. A process that may not write there, as in profile
// restricted, goes without: its container stays long enough to be seen in use by its processes.
func Mark() {
	if file, err := os.OpenFile(mark, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		_ = file.Close()
		now := time.Now()
		_ = os.Chtimes(mark, now, now)
	}
}

// Since returns when the container was last noted to be in use; the zero time for never.
func Since() time.Time {
	info, err := os.Lstat(mark)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
