package localfiles

import "syscall"

// Where lseek(2) finds data and holes.
const (
	seekHole = 3
	seekData = 4
)

func changeTime(stat *syscall.Stat_t) int64 { return stat.Ctimespec.Nano() }
