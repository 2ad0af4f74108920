package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// terminal is a real one, tmux's, with a shell of the laptop's in it.
type terminal struct {
	t      *testing.T
	socket string
}

var terminals atomic.Int32

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	return startTerminal(t, nil, "bash", "--norc")
}

// startTerminal runs a shell with more environment; its prompt is "laptop$ ".
func startTerminal(t *testing.T, env []string, shell ...string) *terminal {
	t.Helper()
	socket := fmt.Sprintf("kdiag-test-%d-%d", os.Getpid(), terminals.Add(1))
	x := &terminal{t: t, socket: socket}
	line := []string{"-L", socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"}
	cmd := exec.Command("tmux", append(line, shell...)...)
	cmd.Env = shared.env(append(env, "PS1=laptop$ ")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}

	t.Cleanup(x.close)
	x.awaitPrompt()
	return x
}

func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-L", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// close is the user closing the window.
func (x *terminal) close() {
	_ = exec.Command("tmux", "-L", x.socket, "kill-server").Run()
}

func (x *terminal) screen() string { return x.tmux("capture-pane", "-p") }

// line types a line.
func (x *terminal) line(text string) {
	x.t.Helper()
	x.tmux("send-keys", "-l", text)
	x.keys("Enter")
}

// job starts a command in the foreground and waits until it is there: keys
// that come before are the shell's.
func (x *terminal) job(command string) {
	x.t.Helper()
	x.line("clear; sh -c 'echo started $((40+1)); exec " + command + "'")
	x.await("started 41")
}

// keys presses keys by tmux's names: "C-c", "Enter".
func (x *terminal) keys(names ...string) {
	x.t.Helper()
	x.tmux(append([]string{"send-keys"}, names...)...)
}

// await waits until the screen shows a text.
func (x *terminal) await(text string) {
	x.t.Helper()
	last := ""
	defer func() {
		if x.t.Failed() {
			x.t.Logf("screen:\n%s", last)
		}
	}()

	eventually(x.t, fmt.Sprintf("%q on the screen", text), func() bool {
		last = x.screen()
		return strings.Contains(last, text)
	})
}

// awaitPrompt waits until the laptop's shell is back, on a line of its own.
func (x *terminal) awaitPrompt() {
	x.t.Helper()
	eventually(x.t, "the laptop's prompt", func() bool {
		screen := strings.TrimSpace(x.screen())
		return strings.TrimSpace(screen[strings.LastIndex(screen, "\n")+1:]) == "laptop$"
	})
}

// shell starts kdiag's shell, and waits for its prompt.
func (x *terminal) shell(prompt string, args ...string) {
	x.t.Helper()
	x.line(shared.binary() + " shell " + strings.Join(args, " "))
	x.await(prompt)
}

func TestTerminal(t *testing.T) {
	namespace := pods(t)
	x := newTerminal(t)
	x.shell("several/two:", "several", "-c", "two", "-n", namespace)

	x.line("echo size $(stty size) term $TERM")
	x.await("size 30 100 term tmux")
	x.tmux("resize-window", "-x", "90", "-y", "25")
	eventually(t, "the new size in the pod", func() bool {
		x.line("clear; echo size $(stty size)")
		return strings.Contains(x.screen(), "size 25 90")
	})

	// Ctrl-C ends a command, not the shell; Ctrl-Z stops it, fg goes on.
	x.job("sleep 1000")
	x.keys("C-c")
	x.line("echo still $((40+2))")
	x.await("still 42")
	x.job("cat")
	x.keys("C-z")
	x.await("Stopped")
	x.line("clear; jobs")
	x.await("cat")
	// The shell names the job before it gives it the terminal: only the job's
	// own answer, beside the terminal's echo, says that Ctrl-C goes to it.
	x.line("clear; fg")
	x.line("again")
	x.await("again\nagain")
	x.keys("C-c")
	x.line("echo back $((40+3))")
	x.await("back 43")

	// Programs that take the whole screen.
	x.line("clear; vi /etc/passwd")
	x.await("nonroot:x:65532")
	x.keys(":", "q", "Enter")
	x.line("clear; seq 1000 | less")
	x.await("20\n")
	x.keys("q")
	x.line("clear; top")
	x.await("Load average")
	x.keys("q")
	x.line("clear; ls /home/nonr\t")
	x.line("echo done $((40+4))")
	x.await("done 44")

	x.line("exit 5")
	x.awaitPrompt()
	x.line("echo code $?")
	x.await("code 5")
}

// TestTerminalRestored compares the terminal's settings after every kind of
// end with those before.
func TestTerminalRestored(t *testing.T) {
	namespace := pods(t)
	for name, end := range map[string]func(x *terminal, pid int, p *proxy){
		"exit":                func(x *terminal, _ int, _ *proxy) { x.line("exit 1") },
		"API server gone":     func(_ *terminal, _ int, p *proxy) { p.cut() },
		"SIGTERM":             func(x *terminal, pid int, _ *proxy) { signal(x.t, pid, "TERM") },
		"the container's end": func(x *terminal, _ int, _ *proxy) { x.line("kill -9 $(pgrep -f 'kdiag manager')") },
	} {
		t.Run(name, func(t *testing.T) {
			p, through := newProxy(t)
			x := newTerminal(t)
			x.line("stty -g > " + filepath.Join(shared.home, "before") + "; clear")
			x.shell("readonly/app:", append([]string{"readonly", "-n", namespace}, through...)...)
			end(x, x.child(), p)
			x.awaitPrompt()
			x.line("test $? != 0 && stty -g | cmp - " + filepath.Join(shared.home, "before") + " && echo same $((50+2))")
			x.await("same 52")
		})
	}
}

// TestTerminalApart has a script's stderr go elsewhere, with all else on the
// terminal.
func TestTerminalApart(t *testing.T) {
	namespace := pods(t)
	x := newTerminal(t)
	x.line("clear; " + shared.binary() + " shell -n " + namespace + ` deploy/web -- -c 'echo out $((1+1)); echo err $((2+2)) >&2; exit 7' 2>/dev/null; echo code $?`)
	x.await("code 7")
	if screen := x.screen(); !strings.Contains(screen, "out 2\n") || strings.Contains(screen, "err 4") {
		t.Errorf("screen: %q, want what went to stdout, without what went to stderr", screen)
	}
}

// child is the process id of the kdiag that runs in the terminal.
func (x *terminal) child() int {
	x.t.Helper()
	parent := strings.TrimSpace(x.tmux("display-message", "-p", "#{pane_pid}"))
	out, err := exec.Command("pgrep", "-P", parent).Output()
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		x.t.Fatalf("no child of the terminal's shell: %v, %q", err, out)
	}
	return pid
}

func signal(t *testing.T, pid int, name string) {
	t.Helper()
	if out, err := exec.Command("kill", "-"+name, strconv.Itoa(pid)).CombinedOutput(); err != nil {
		t.Fatalf("kill: %v: %s", err, out)
	}
}

// TestTerminalClosed leaves no process in the pod, zombies included, but for a
// job under nohup.
func TestTerminalClosed(t *testing.T) {
	for name, end := range map[string]func(x *terminal){
		"window closed": func(x *terminal) { x.close() },
		"killed":        func(x *terminal) { signal(x.t, x.child(), "KILL") },
	} {
		t.Run(name, func(t *testing.T) {
			namespace := newNamespace(t)
			apply(t, namespace, manifest(t, "rootpod.yaml"))
			waitForPods(t, namespace)
			x := newTerminal(t)
			x.shell("root/app:", "root", "-n", namespace)
			x.line("sleep 1001 &")
			x.line("nohup sleep 1002 >/dev/null 2>&1 &")
			x.job("sleep 1003")
			x.keys("C-z")
			x.await("Stopped")
			x.line("clear; vi /etc/hosts")
			x.await("localhost")
			if name == "killed" {
				eventually(t, "the lifeline", func() bool {
					return strings.Contains(kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").stdout, "--lifeline")
				})
			}

			end(x)
			var left string
			eventually(t, "the processes to go", func() bool {
				left = strangers(kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o pid,stat,args").stdout)
				return strings.Count(left, "\n") <= 1
			})
			if !strings.Contains(left, "sleep 1002") {
				t.Errorf("left: %q, want the job under nohup", left)
			}
		})
	}
}

// strangers are the lines of "ps -o" that are neither the application, the
// manager nor the ps itself.
func strangers(ps string) string {
	var left strings.Builder
	for line := range strings.Lines(ps) {
		known := false
		for _, own := range []string{"PID ", "/app", "kdiag manager", "ps -o"} {
			known = known || strings.Contains(line, own)
		}
		if !known {
			left.WriteString(line)
		}
	}

	return left.String()
}

// TestProgress shows what the kubelet is doing, and takes it away again.
func TestProgress(t *testing.T) {
	if shared.node == "" {
		t.Skip("a registry that does not answer is at hand in the project's own cluster only")
	}

	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	x := newTerminal(t)
	x.line("clear; " + shared.binary() + " shell root -n " + namespace + " --image=10.199.0.1:" + deaf(t, ":0") + "/deaf:1")
	x.await("Pulling image")
	x.keys("C-c")
	x.awaitPrompt()
	x.line("echo code $?")
	x.await("code 130")
	if screen := x.screen(); strings.Contains(screen, "Pulling image") {
		t.Errorf("screen: %q, want the progress gone", screen)
	}
}
