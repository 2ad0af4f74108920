package runctest

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// LeaderlessArgument makes a test binary a program whose first thread ends while others go on, if
// the binary calls BecomeLeaderless in an init function, which runs in the first thread.
const LeaderlessArgument = "end-first-thread"

// BecomeLeaderless ends the first thread at SIGUSR1, if that is what the program was started for.
// Another one listens at port 7070. A runtime adds no container beside such a process: it would join
// the namespaces of the first thread.
func BecomeLeaderless() {
	if len(os.Args) != 2 || os.Args[1] != LeaderlessArgument {
		return
	}

	runtime.LockOSThread()
	listener, err := net.Listen("tcp", "127.0.0.1:7070") //nolint:noctx // it never ends
	if err != nil {
		os.Exit(1)
	}

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				os.Exit(1)
			}
			_ = conn.Close()
		}
	}()

	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	<-told

	// Not exit_group, which would end all threads. To Go's runtime this call never returns.
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

// EndFirstThread ends the first thread of a container that runs BecomeLeaderless.
func EndFirstThread(t *testing.T, c *RuncContainer) {
	t.Helper()
	// To runc it has ended.
	t.Cleanup(func() { _ = syscall.Kill(c.PID, syscall.SIGKILL) })

	ended := func() bool {
		// Before it handles the signal it ignores it, as the first process of a PID namespace.
		_ = syscall.Kill(c.PID, syscall.SIGUSR1)
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/stat", c.PID, c.PID))
		return err == nil && strings.Contains(string(text), ") Z ")
	}
	if !WaitUntil(ended) {
		t.Fatal("the first thread does not end")
	}
}
