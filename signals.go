package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "ended by " + e.signal.String() }

// Signal is for whoever has a process of its own to pass it on to.
func (e *signalError) Signal() os.Signal { return e.signal }

// exitCode is what a shell reports for a process that the signal killed
// (POSIX.1-2017, Shell Command Language, 2.8.2).
func (e *signalError) exitCode() int { return 128 + int(e.signal) }

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP ends,
// so that the run cleans up; the second one kills the process. One that the
// process was started to ignore, as nohup and a script's "&" do, stays ignored.
func withSignals(stderr io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals, stopped := make(chan os.Signal, 1), make(chan struct{})
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}

	go func() {
		var caught os.Signal
		select {
		case caught = <-signals:
		case <-stopped:
			return
		}

		// Back to the default action: the next one ends the process. Not so
		// SIGHUP: a closed terminal gives one, and the shell in it another.
		signal.Stop(signals)
		signal.Ignore(syscall.SIGHUP)
		number, _ := caught.(syscall.Signal)
		cancel(&signalError{number})
		select {
		case <-time.After(patience):
			fmt.Fprintf(stderr, "\n%s; cleaning up (again to quit at once)\n", number)
		case <-stopped:
		}
	}()

	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		close(stopped)
	}
}

// patience is how long a clean-up goes on without a word.
const patience = time.Second
