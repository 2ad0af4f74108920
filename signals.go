package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"kdiag/applets"
)

// signalError says which signal ended a context. It is the context's cause.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "ended by signal: " + e.signal.String() }

// Signal returns the signal, for callers that pass it on to a process of their own.
func (e *signalError) Signal() os.Signal { return e.signal }

// exitCode returns what a shell reports for a process that the signal killed
// (POSIX.1-2017, Shell Command Language, 2.8.2).
func (e *signalError) exitCode() int { return applets.ExitKilled + int(e.signal) }

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP ends, so that
// the run cleans up. The second one kills the process. A signal that was ignored from
// the start stays so: nohup and a script's "&" start processes like that.
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

		// From here on a signal has its default action and kills the process, except
		// SIGHUP: when a terminal closes, the kernel sends one and the shell another. It is
		// taken by nobody, and never let go in between: the clean-up must not be killed.
		if !signal.Ignored(syscall.SIGHUP) {
			signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		}
		signal.Stop(signals)
		number, _ := caught.(syscall.Signal)
		cancel(&signalError{number})

		select {
		case <-time.After(quietCleanup):
			fmt.Fprintf(stderr, "\n%s: cleaning up (repeat to quit immediately)\n", number)
		case <-stopped:
		}
	}()

	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		close(stopped)
	}
}

// quietCleanup limits how long a clean-up goes on without a message.
const quietCleanup = time.Second
