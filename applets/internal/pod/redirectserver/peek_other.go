//go:build !linux

package redirectserver

import (
	"errors"
)

// peekSocket is not there: a manager runs on Linux.
func peekSocket(uintptr, []byte) (n int, ended bool, err error) {
	return 0, false, errors.ErrUnsupported
}
