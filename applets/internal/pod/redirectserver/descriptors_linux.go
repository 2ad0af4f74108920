package redirectserver

import (
	"math"

	"golang.org/x/sys/unix"
)

// descriptorLimit returns how many files this process may have open.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // Linux' own (include/asm-generic/resource.h, INR_OPEN_CUR)
	}
	return int(min(limit.Cur, math.MaxInt32))
}
