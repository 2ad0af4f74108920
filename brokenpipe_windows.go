package main

import (
	"errors"
	"syscall"
)

// errNoData is what Windows says of a pipe whose reader is closing (ERROR_NO_DATA).
const errNoData = syscall.Errno(232)

// surviveBrokenPipes does nothing: Windows kills nobody for a broken pipe.
func surviveBrokenPipes() (quiet bool) { return true }

// isBrokenPipe reports whether a Write failed because nobody reads any more.
func isBrokenPipe(err error) bool {
	return errors.Is(err, syscall.ERROR_BROKEN_PIPE) || errors.Is(err, errNoData)
}
