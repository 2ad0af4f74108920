package localfiles

import "syscall"

// Where lseek(2) finds data and holes.
const (
	seekData = 3
	seekHole = 4
)

func changeTime(stat *syscall.Stat_t) int64 { return stat.Ctim.Nano() }
