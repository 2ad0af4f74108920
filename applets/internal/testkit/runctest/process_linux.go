package runctest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// becomeSubreaper makes the processes that runc leaves behind children of the test, so that it can
// wait for them.
func becomeSubreaper(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}

// newWaiter returns a function that waits for a child, once, and returns its exit code.
func newWaiter(pid int) func() int {
	return sync.OnceValue(func() int {
		var status unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
				break
			}
		}
		if status.Signaled() {
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	})
}

// A TerminalProcess is a process in a container on a terminal, as a runtime starts it: the
// terminal's other side stays open whatever becomes of the user's.
type TerminalProcess struct {
	*os.File
	// PID is the process's in this machine's PID namespace.
	PID  int
	wait func() int
}

// Wait waits for the process and returns its exit code.
func (t *TerminalProcess) Wait() int { return t.wait() }

// StartTerminal starts a command in the container on a terminal. It is killed when the test ends.
func (c *RuncContainer) StartTerminal(t *testing.T, args ...string) *TerminalProcess {
	t.Helper()
	dir, err := os.MkdirTemp("", "tty")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)

	socket, pidFile := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	line := []string{"exec", "--tty", "--detach", "--console-socket=" + socket, "--pid-file=" + pidFile, c.ID}
	if out, err := c.runcCommand(append(line, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("runc exec: %v\n%s", err, out)
	}

	master, err := receiveTerminal(listener)
	if err != nil {
		t.Fatal(err)
	}

	pid := readPID(t, pidFile)
	terminal := &TerminalProcess{File: master, PID: pid, wait: newWaiter(pid)}
	t.Cleanup(func() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		terminal.wait()
		_ = master.Close()
	})

	return terminal
}

// receiveTerminal takes the terminal that runc sends over a socket.
func receiveTerminal(listener *net.UnixListener) (*os.File, error) {
	conn, err := listener.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	name, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(name, rights)
	if err != nil {
		return nil, err
	}

	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages: %w", len(messages), err)
	}

	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}

	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
