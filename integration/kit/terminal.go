package kit

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Terminal carries a window of tmux, with a shell of the laptop's in it.
type Terminal struct {
	T      *testing.T
	socket string
	jobs   int // counts those that StartJob has started
}

// terminals counts the terminals of this run, so that each gets a socket of its own.
var terminals atomic.Int32

// OpenTerminal opens a terminal with the laptop's bash in it.
func OpenTerminal(t *testing.T) *Terminal {
	t.Helper()
	return OpenTerminalWith(t, nil, "bash", "--norc")
}

// OpenTerminalWith opens a terminal with any shell in it, and more environment.
// Its prompt must be "laptop$ ".
func OpenTerminalWith(t *testing.T, env []string, shell ...string) *Terminal {
	t.Helper()
	socket := fmt.Sprintf("kdiag-test-%d-%d", os.Getpid(), terminals.Add(1))
	x := &Terminal{T: t, socket: socket}
	session := []string{"-L", socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"}
	cmd := exec.Command("tmux", append(session, shell...)...)
	cmd.Env = Environment(append(env, "PS1=laptop$ ")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}

	t.Cleanup(x.Close)
	x.WaitForPrompt()
	return x
}

// ForTest returns the same terminal for a subtest, which then fails in its place.
func (x *Terminal) ForTest(t *testing.T) *Terminal { return &Terminal{t, x.socket, x.jobs} }

// RunTmux runs a command of tmux's on the terminal and returns what it prints.
func (x *Terminal) RunTmux(args ...string) string {
	x.T.Helper()
	out, err := exec.Command("tmux", append([]string{"-L", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.T.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// CloseWindow closes the window, as a user does.
func (x *Terminal) CloseWindow() {
	x.T.Helper()
	x.RunTmux("kill-server")
}

// Close closes the window if it is open.
func (x *Terminal) Close() {
	_ = exec.Command("tmux", "-L", x.socket, "kill-server").Run()
}

// ReadScreen returns what the screen shows.
func (x *Terminal) ReadScreen() string { return x.RunTmux("capture-pane", "-p") }

// TypeLine types a line and presses Enter.
func (x *Terminal) TypeLine(text string) {
	x.T.Helper()
	x.RunTmux("send-keys", "-l", text)
	x.PressKeys("Enter")
}

// StartJob starts a command in the foreground and waits until it runs: the shell
// would get the keys that come before. Each job has a number of its own, for the
// words of the one before may be on the screen still.
func (x *Terminal) StartJob(command string) {
	x.T.Helper()
	x.jobs++
	x.TypeLine(fmt.Sprintf("clear; sh -c 'echo started $((40+%d)); exec %s'", x.jobs, command))
	x.WaitForText(fmt.Sprintf("started %d", 40+x.jobs))
}

// PressKeys presses keys by tmux's names: "C-c", "Enter".
func (x *Terminal) PressKeys(names ...string) {
	x.T.Helper()
	x.RunTmux(append([]string{"send-keys"}, names...)...)
}

// WaitForText waits until the screen shows a text.
func (x *Terminal) WaitForText(text string) {
	x.T.Helper()
	last := ""
	defer func() {
		if x.T.Failed() {
			x.T.Logf("screen:\n%s", last)
		}
	}()

	WaitUntil(x.T, fmt.Sprintf("%q on the screen", text), func() bool {
		last = x.ReadScreen()
		return strings.Contains(last, text)
	})
}

// WaitForPrompt waits until the prompt of the laptop's shell stands alone on the
// last line.
func (x *Terminal) WaitForPrompt() {
	x.T.Helper()
	WaitUntil(x.T, "the laptop's prompt", func() bool {
		screen := strings.TrimSpace(x.ReadScreen())
		return strings.TrimSpace(screen[strings.LastIndex(screen, "\n")+1:]) == "laptop$"
	})
}

// OpenShell starts kdiag's shell, and waits for its prompt.
func (x *Terminal) OpenShell(prompt string, args ...string) {
	x.T.Helper()
	x.TypeLine(BinaryPath() + " shell " + strings.Join(args, " "))
	x.WaitForText(prompt)
}

// FindChild returns the process id of the kdiag that runs in the terminal.
func (x *Terminal) FindChild() int {
	x.T.Helper()
	parent := strings.TrimSpace(x.RunTmux("display-message", "-p", "#{pane_pid}"))
	out, err := exec.Command("pgrep", "-P", parent).Output()
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		x.T.Fatalf("no child of the terminal's shell: %v, %q", err, out)
	}
	return pid
}

// SignalChild sends a signal to the kdiag that runs in the terminal.
func (x *Terminal) SignalChild(signal syscall.Signal) {
	x.T.Helper()
	process, err := os.FindProcess(x.FindChild())
	if err == nil {
		err = process.Signal(signal)
	}
	if err != nil {
		x.T.Fatal(err)
	}
}
