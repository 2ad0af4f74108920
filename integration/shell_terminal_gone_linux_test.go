package integration

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// TestTerminalGoneWithoutSignal leaves no process in the pod when the user's terminal goes and kdiag
// gets no SIGHUP, or ignores it.
func TestTerminalGoneWithoutSignal(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	for name, c := range map[string]struct {
		owned  bool // the terminal sends kdiag SIGHUP
		stdout bool // is the terminal, too
		words  []string
	}{
		"the parent was killed": {false, true, []string{kit.BinaryPath()}},
		"SIGHUP is ignored":     {true, true, []string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh", kit.BinaryPath()}},
		"-t, stdout elsewhere":  {false, false, []string{kit.BinaryPath()}},
	} {
		t.Run(name, func(t *testing.T) {
			master, tty := openTerminalPair(t)

			var shown kit.Output
			words := append(c.words, "shell", "-t", "-n", namespace, "root")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, words[0], words[1:]...)
			cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = kit.Environment(), tty, &shown, &shown
			if c.stdout {
				cmd.Stdout, cmd.Stderr = tty, tty
			}
			go func() { _, _ = io.Copy(&shown, master) }()
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: c.owned}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}

			startJobs(t, master, &shown)
			_ = master.Close()
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 129 {
				t.Errorf("kdiag: code %d, want 129, as after SIGHUP; it showed %q", code, shown.String())
			}
			var left string
			kit.WaitUntil(t, "the processes to go", func() bool {
				left = dropKnownProcesses(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o pid,stat,args").Stdout)
				return left == ""
			})
		})
	}
}

// openTerminalPair opens a terminal. Its master can be closed while it is read.
func openTerminalPair(t *testing.T) (master, tty *os.File) {
	t.Helper()
	blocking, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })

	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "master"), tty
}

// startJobs waits for the shell, and has it run something in the background and in the foreground.
func startJobs(t *testing.T, master *os.File, shown *kit.Output) {
	t.Helper()
	kit.WaitUntil(t, "the shell's prompt", func() bool { return strings.Contains(shown.String(), "root/app:") })
	_, _ = io.WriteString(master, "sleep 1001 & echo jobs $((40+2)); sleep 1003\r")
	kit.WaitUntil(t, "the jobs", func() bool { return strings.Contains(shown.String(), "jobs 42") })
}
