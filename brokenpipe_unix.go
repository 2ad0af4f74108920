//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// surviveBrokenPipes has a Write to a pipe without a reader fail. Otherwise the process would die at
// once, and leave in the pod what it has started there. quiet says whether it should still end as
// if it had died so: not if SIGPIPE was ignored from the start, by somebody who wants to hear of it.
func surviveBrokenPipes() (quiet bool) {
	if signal.Ignored(syscall.SIGPIPE) {
		return false
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return true
}

// isBrokenPipe reports whether a Write failed because nobody reads any more.
func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
