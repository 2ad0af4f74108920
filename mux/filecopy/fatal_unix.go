//go:build unix

package filecopy

import (
	"errors"
	"syscall"
)

// isFatal reports whether an error of one file holds for all that follow, too: there is no space, or
// nothing can be written.
func isFatal(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}
