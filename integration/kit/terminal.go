package kit

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Terminal is a real one, tmux's, with a shell of the laptop's in it.
type Terminal struct {
	T      *testing.T
	socket string
}

// ForTest returns the same terminal for a subtest, which then fails in its place.
func (x *Terminal) ForTest(t *testing.T) *Terminal { return &Terminal{t, x.socket} }

// RunTmux runs a command of tmux's on the terminal and returns what it prints.
func (x *Terminal) RunTmux(args ...string) string {
	x.T.Helper()
	out, err := exec.Command("tmux", append([]string{"-L", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.T.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// Close is the user closing the window.
func (x *Terminal) Close() {
	_ = exec.Command("tmux", "-L", x.socket, "kill-server").Run()
}

func (x *Terminal) ReadScreen() string { return x.RunTmux("capture-pane", "-p") }

// TypeLine types a line.
func (x *Terminal) TypeLine(text string) {
	x.T.Helper()
	x.RunTmux("send-keys", "-l", text)
	x.PressKeys("Enter")
}

// StartJob starts a command in the foreground and waits until it is there: keys
// that come before are the shell's.
func (x *Terminal) StartJob(command string) {
	x.T.Helper()
	x.TypeLine("clear; sh -c 'echo started $((40+1)); exec " + command + "'")
	x.WaitForText("started 41")
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

// WaitForPrompt waits until the laptop's shell is back, on a line of its own.
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

// FindChild is the process id of the kdiag that runs in the terminal.
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

var terminals atomic.Int32

func OpenTerminal(t *testing.T) *Terminal {
	t.Helper()
	return OpenTerminalWith(t, nil, "bash", "--norc")
}

// OpenTerminalWith runs a shell with more environment; its prompt is "laptop$ ".
func OpenTerminalWith(t *testing.T, env []string, shell ...string) *Terminal {
	t.Helper()
	socket := fmt.Sprintf("kdiag-test-%d-%d", os.Getpid(), terminals.Add(1))
	x := &Terminal{T: t, socket: socket}
	line := []string{"-L", socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"}
	cmd := exec.Command("tmux", append(line, shell...)...)
	cmd.Env = Environment(append(env, "PS1=laptop$ ")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}

	t.Cleanup(x.Close)
	x.WaitForPrompt()
	return x
}

func SendSignal(t *testing.T, pid int, name string) {
	t.Helper()
	if out, err := exec.Command("kill", "-"+name, strconv.Itoa(pid)).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
}
