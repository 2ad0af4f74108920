package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return "ended by " + e.signal.String() }

// exitCode is what a shell reports for a process that the signal killed
// (POSIX.1-2017, Shell Command Language, 2.8.2).
func (e *signalError) exitCode() int { return 128 + int(e.signal) }

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP ends,
// so that the run cleans up; the second one kills the process.
func withSignals(stderr io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		caught, ok := <-signals
		if !ok {
			return
		}
		// Back to the default action: the next one ends the process.
		signal.Stop(signals)
		number, _ := caught.(syscall.Signal)
		if number == syscall.SIGINT {
			fmt.Fprintln(stderr, "interrupted; cleaning up (again to quit at once)")
		}
		cancel(&signalError{number})
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
