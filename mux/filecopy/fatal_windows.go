package filecopy

import (
	"errors"
	"syscall"
)

// isFatal reports whether an error of one file holds for all that follow, too: there is no space, or
// nothing can be written. The numbers are ERROR_DISK_FULL's and ERROR_WRITE_PROTECT's.
func isFatal(err error) bool {
	return errors.Is(err, syscall.Errno(112)) || errors.Is(err, syscall.Errno(19))
}
