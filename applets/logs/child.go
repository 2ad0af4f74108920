package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"kdiag/applets"
)

// childProcess is the user's program that runs while logs are followed. Its streams
// are kdiag's own.
type childProcess struct {
	*exec.Cmd
	ended chan struct{}
	err   error
	// stopped says that it was kdiag that ended it.
	stopped bool
}

// findProgram looks a program up, as a shell would, before anything else
// happens. Its exit codes for one that is not there, or cannot be run, are a
// shell's (POSIX.1-2017, Shell Command Language, 2.8.2).
func findProgram(line []string, streams applets.Streams) (*childProcess, error) {
	if _, err := exec.LookPath(line[0]); err != nil {
		return nil, startError(line[0], err)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.In, streams.Out, streams.Err
	return &childProcess{Cmd: cmd, ended: make(chan struct{})}, nil
}

func startError(name string, err error) error {
	code := applets.ExitUnknown
	if errors.Is(err, fs.ErrPermission) {
		code = 126
	}
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		err = lookup.Err
	}
	return &applets.ExitError{Code: code, Err: fmt.Errorf("run %s: %w", name, err)}
}

func (c *childProcess) start() error {
	if err := c.Start(); err != nil {
		return startError(c.Path, err)
	}
	go func() {
		c.err = c.Wait()
		close(c.ended)
	}()
	return nil
}

// killAfter is how long a command may take to end once it was told to.
const killAfter = 10 * time.Second

// stop tells the command to end, waits for that, and kills it where it takes
// too long. Another system than UNIX has only the kill.
func (c *childProcess) stop() {
	c.stopped = true
	if c.Process.Signal(syscall.SIGTERM) != nil {
		_ = c.Process.Kill()
	}
	select {
	case <-c.ended:
	case <-time.After(killAfter):
		_ = c.Process.Kill()
		<-c.ended
	}
}

// forwardSignal passes on the signal that ended ctx. From a terminal, SIGINT and SIGHUP
// go to its whole foreground process group, the command among it.
func (c *childProcess) forwardSignal(ctx context.Context, terminal bool) {
	var caught interface{ Signal() os.Signal }
	if !errors.As(context.Cause(ctx), &caught) {
		return
	}
	if signal := caught.Signal(); signal == syscall.SIGTERM || !terminal {
		_ = c.Process.Signal(signal)
	}
}

// exitCode is the command's, once it has ended: 128 and the number for one that
// a signal killed, as a shell has it.
func (c *childProcess) exitCode() int {
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return c.ProcessState.ExitCode()
}

// wasTerminated reports whether it was our telling it to end that ended it.
func (c *childProcess) wasTerminated() bool {
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return c.stopped && ok && status.Signaled()
}
