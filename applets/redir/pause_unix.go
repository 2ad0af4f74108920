//go:build unix

package redir

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// resumeTimeout bounds the wait for the news that this process goes on, which comes with the stop's end.
const resumeTimeout = time.Second

// pauseOnStop gives connections back at Ctrl-Z, before this process stops, and takes them again when it
// goes on, until stop is called.
func (f *follower) pauseOnStop(ctx context.Context) (stop func()) {
	if signal.Ignored(unix.SIGTSTP) {
		return func() {}
	}

	ctx, cancel := context.WithCancel(ctx)
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGTSTP)
	var pausing sync.WaitGroup
	pausing.Go(func() {
		defer signal.Stop(stops)
		for {
			select {
			case <-ctx.Done():
				return
			case <-stops:
			}
			if isJob() {
				f.pauseAll(ctx)
				stopSelf()
				f.resumeAll()
			}
		}
	})

	return func() { cancel(); pausing.Wait() }
}

// isJob reports whether this process is a shell's job, which the shell can continue. The kernel, too,
// stops no others (setpgid(2), orphaned process group).
func isJob() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	shell, err := unix.Getpgid(session)
	return err == nil && shell != unix.Getpgrp()
}

// stopSelf stops this process, and returns when it goes on. It is SIGSTOP that stops it, since package
// signal does not give SIGTSTP its default action back.
func stopSelf() {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, unix.SIGCONT)
	defer signal.Stop(goesOn)
	if unix.Kill(os.Getpid(), unix.SIGSTOP) != nil {
		return
	}

	select {
	case <-goesOn:
	case <-time.After(resumeTimeout):
	}
}
