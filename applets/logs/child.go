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

// childProcess runs the user's command while logs are followed. It shares kdiag's
// standard streams.
type childProcess struct {
	*exec.Cmd
	ended chan struct{}
	err   error
	// stopped is set once kdiag has told the command to end.
	stopped bool
}

// findProgram looks up a program as a shell would, before anything else happens.
// If it cannot be found or run, the exit code is the one that a shell would use
// (POSIX.1-2017, Shell Command Language, 2.8.2).
func findProgram(line []string, streams applets.Streams) (*childProcess, error) {
	if _, err := exec.LookPath(line[0]); err != nil {
		return nil, describeStartError(line[0], err)
	}

	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams.In, applets.Underlying(streams.Out), applets.Underlying(streams.Err)
	return &childProcess{Cmd: cmd, ended: make(chan struct{})}, nil
}

// describeStartError names the program that could not be run, and gives the error its exit code.
func describeStartError(name string, err error) error {
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
		return describeStartError(c.Path, err)
	}
	go func() {
		c.err = c.Wait()
		close(c.ended)
	}()
	return nil
}

// killAfter bounds how long a command may take to end after SIGTERM.
const killAfter = 10 * time.Second

// stop sends SIGTERM to the command, waits for it to end, and kills it if that takes
// too long. On systems other than Unix it only kills.
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

// forwardSignal sends the signal that ended ctx to the command. A terminal already
// sends SIGINT and SIGHUP to its whole foreground process group, which includes the
// command.
func (c *childProcess) forwardSignal(ctx context.Context, terminal bool) {
	var caught interface{ Signal() os.Signal }
	if !errors.As(context.Cause(ctx), &caught) {
		return
	}
	if signal := caught.Signal(); signal == syscall.SIGTERM || !terminal {
		_ = c.Process.Signal(signal)
	}
}

// exitCode returns the exit code of the command, once it has ended. For one that a
// signal killed, it is 128 plus the signal's number, as in a shell.
func (c *childProcess) exitCode() int {
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return applets.ExitKilled + int(status.Signal())
	}
	return c.ProcessState.ExitCode()
}

// wasTerminated reports whether the command ended because kdiag told it to.
func (c *childProcess) wasTerminated() bool {
	status, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return c.stopped && ok && status.Signaled()
}
