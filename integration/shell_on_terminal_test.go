package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestTerminal works in a shell as on any terminal: resizing the window, job
// control, programs that take the whole screen, completion.
func TestTerminal(t *testing.T) {
	namespace := kit.SharedPods(t)
	x := kit.OpenTerminal(t)
	x.OpenShell("several/two:", "several", "-c", "two", "-n", namespace)

	x.TypeLine("echo size $(stty size) term $TERM")
	x.WaitForText("size 30 100 term tmux")
	x.RunTmux("resize-window", "-x", "90", "-y", "25")
	kit.WaitUntil(t, "the new size in the pod", func() bool {
		x.TypeLine("clear; echo size $(stty size)")
		return strings.Contains(x.ReadScreen(), "size 25 90")
	})

	// Ctrl-C ends a command, not the shell; Ctrl-Z stops it, fg goes on.
	x.StartJob("sleep 1000")
	x.PressKeys("C-c")
	x.TypeLine("echo still $((40+2))")
	x.WaitForText("still 42")

	x.StartJob("cat")
	x.PressKeys("C-z")
	x.WaitForText("Stopped")
	x.TypeLine("clear; jobs")
	x.WaitForText("cat")
	// The shell names the job before it gives it the terminal: only the job's
	// own answer, beside the terminal's echo, says that Ctrl-C goes to it. What is typed
	// before may be lost.
	x.TypeLine("clear; fg")
	tries := 0
	kit.WaitUntil(t, "the job to answer", func() bool {
		tries++
		word := fmt.Sprintf("again-%d", tries)
		x.TypeLine(word)
		return kit.WaitAtMost(5*time.Second, func() bool { return strings.Contains(x.ReadScreen(), word+"\n"+word) })
	})
	x.PressKeys("C-c")
	x.TypeLine("echo back $((40+3))")
	x.WaitForText("back 43")

	// Programs that take the whole screen.
	x.TypeLine("clear; vi /etc/passwd")
	x.WaitForText("nonroot:x:65532")
	x.PressKeys(":", "q", "Enter")

	x.TypeLine("clear; seq 1000 | less")
	x.WaitForText("20\n")
	x.PressKeys("q")

	x.TypeLine("clear; top")
	x.WaitForText("Load average")
	x.PressKeys("q")

	// Tab completes the name of a directory.
	x.TypeLine("clear; ls /home/nonr\t")
	x.TypeLine("echo done $((40+4))")
	x.WaitForText("done 44")

	x.TypeLine("exit 5")
	x.WaitForPrompt()
	x.TypeLine("echo code $?")
	x.WaitForText("code 5")
}

// TestTerminalRestored has the terminal's settings as before, however the shell
// ends.
func TestTerminalRestored(t *testing.T) {
	namespace := kit.SharedPods(t)
	before := kit.HomePath("before")
	for name, end := range map[string]func(*kit.Terminal, *kit.Proxy){
		"exit":                func(x *kit.Terminal, _ *kit.Proxy) { x.TypeLine("exit 1") },
		"API server gone":     func(_ *kit.Terminal, p *kit.Proxy) { p.Cut() },
		"SIGTERM":             func(x *kit.Terminal, _ *kit.Proxy) { x.SignalChild(syscall.SIGTERM) },
		"the container's end": func(x *kit.Terminal, _ *kit.Proxy) { x.TypeLine("kill -9 $(pgrep -f 'kdiag manager')") },
	} {
		t.Run(name, func(t *testing.T) {
			p, through := kit.StartProxy(t)
			x := kit.OpenTerminal(t)
			x.TypeLine("stty -g > " + before + "; clear")
			x.OpenShell("readonly/app:", append([]string{"readonly", "-n", namespace}, through...)...)

			end(x, p)
			x.WaitForPrompt()
			x.TypeLine("test $? != 0 && stty -g | cmp - " + before + " && echo same $((50+2))")
			x.WaitForText("same 52")
		})
	}
}

// TestTerminalApart sends a script's stderr elsewhere, with everything else on the
// terminal.
func TestTerminalApart(t *testing.T) {
	namespace := kit.SharedPods(t)
	x := kit.OpenTerminal(t)
	x.TypeLine("clear; " + kit.BinaryPath() + " shell -n " + namespace + ` deploy/web -- -c 'echo out $((1+1)); echo err $((2+2)) >&2; exit 7' 2>/dev/null; echo code $?`)
	x.WaitForText("code 7")
	if screen := x.ReadScreen(); !strings.Contains(screen, "out 2\n") || strings.Contains(screen, "err 4") {
		t.Errorf("screen: %q, want what went to stdout, without what went to stderr", screen)
	}
}

// TestTerminalClosed leaves no process in the pod, zombies included, but for a
// job under nohup.
func TestTerminalClosed(t *testing.T) {
	for name, end := range map[string]func(x *kit.Terminal){
		"window closed": (*kit.Terminal).CloseWindow,
		"killed":        func(x *kit.Terminal) { x.SignalChild(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			namespace := kit.CreateRootPod(t)
			x := kit.OpenTerminal(t)
			x.OpenShell("root/app:", "root", "-n", namespace)

			x.TypeLine("sleep 1001 &")
			x.TypeLine("nohup sleep 1002 >/dev/null 2>&1 &")
			x.StartJob("sleep 1003")
			x.PressKeys("C-z")
			x.WaitForText("Stopped")
			x.TypeLine("clear; vi /etc/hosts")
			x.WaitForText("localhost")
			if name == "killed" {
				kit.WaitUntil(t, "the lifeline", func() bool {
					return strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "--lifeline")
				})
			}

			end(x)
			var left string
			defer func() {
				if t.Failed() {
					t.Logf("left: %q\n%s%s", left, kit.DescribeProcesses("--lifeline"), kit.DescribeProcesses(namespace))
				}
			}()
			kit.WaitUntil(t, "the processes to go", func() bool {
				left = dropKnownProcesses(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o pid,stat,args").Stdout)
				return strings.Count(left, "\n") <= 1
			})
			if !strings.Contains(left, "sleep 1002") {
				t.Errorf("left: %q, want the job under nohup", left)
			}
		})
	}
}

// dropKnownProcesses returns the lines of "ps -o" that are neither the application,
// the manager nor the ps itself.
func dropKnownProcesses(ps string) string {
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

// TestProgress shows what the kubelet is doing, and wipes that away in the end.
func TestProgress(t *testing.T) {
	kit.RequireOwnCluster(t, "a registry that does not answer")
	namespace := kit.CreateRootPod(t)
	x := kit.OpenTerminal(t)
	x.TypeLine("clear; " + kit.BinaryPath() + " shell root -n " + namespace + " --image=" + kit.DeafImage(t))
	x.WaitForText("Pulling image")
	x.PressKeys("C-c")
	x.WaitForPrompt()
	x.TypeLine("echo code $?")
	x.WaitForText("code 130")
	if screen := x.ReadScreen(); strings.Contains(screen, "Pulling image") {
		t.Errorf("screen: %q, want the progress gone", screen)
	}
}
