package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestPsWatch prints a document in each line until Ctrl-C, and leaves no process in
// the pod.
func TestPsWatch(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	ps := kit.StartKdiag(t, "ps", "-n", namespace, "root", "--watch", "--interval=100ms", "-o", "json")
	for _, line := range ps.WaitForLines(3) {
		var report kit.ProcessReport
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		report.VerifySoleProcess(t, "0")
	}

	if got := ps.Interrupt(); got.Code != 0 {
		t.Errorf("after Ctrl-C: %v, want code 0", got)
	}
	kit.WaitUntil(t, "the end of inspect in the pod", func() bool {
		return !strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "kdiag inspect")
	})
}

// TestPsWatchConnectsAgain goes on after each connection that breaks, also while the API server is gone
// for a moment, with a line for each, and leaves no more in the pod than without.
func TestPsWatchConnectsAgain(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	proxy, through := kit.StartProxy(t)
	ps := kit.StartKdiag(t, append([]string{"ps", "-n", namespace, "root", "--watch", "--interval=100ms", "-o", "json"}, through...)...)
	ps.WaitForLines(2)

	for breaks := range 3 {
		proxy.SetAway(true)
		kit.WaitUntil(t, "a line on the broken connection", func() bool {
			return strings.Count(ps.Stderr.String(), "; connecting again\n") > breaks
		})
		proxy.SetAway(false)
		ps.WaitForLines(strings.Count(ps.Stdout.String(), "\n") + 2)
	}

	got := ps.Interrupt()
	if told := strings.Count(got.Stderr, "; connecting again\n"); got.Code != 0 || told != 3 || strings.Count(got.Stderr, "\n") != 3 {
		t.Errorf("ps --watch: %v\nwant code 0 and a line for each of 3 breaks", got)
	}
	kit.VerifyContainerCount(t, namespace, "root", 1)
	kit.WaitUntil(t, "the end of inspect in the pod", func() bool {
		return !strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "kdiag inspect")
	})
}

// TestPsWatchTargetEnds says why it ends when the application goes.
func TestPsWatchTargetEnds(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	ps := kit.StartKdiag(t, "ps", "-n", namespace, "root", "--watch", "--interval=100ms")
	ps.WaitForLines(1)

	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false", "--grace-period=1")
	if got := ps.WaitForEnd(); got.Code != 1 || !strings.Contains(got.Stderr, "kdiag: ") {
		t.Errorf("ps --watch: %v, want code 1 and the reason", got)
	}
}

// TestPsOnTerminal draws each picture over the last one, within the window.
func TestPsOnTerminal(t *testing.T) {
	namespace := kit.SharedPods(t)
	x := kit.OpenTerminal(t)
	x.RunTmux("resize-window", "-x", "60", "-y", "12")
	x.TypeLine("clear; " + kit.BinaryPath() + " ps -n " + namespace + " several -c two --watch --interval=100ms")
	x.WaitForText("/several, conta…")
	x.WaitForText("[::]:8082  1/app")

	first := strings.SplitN(x.ReadScreen(), " pod ", 2)[0]
	kit.WaitUntil(t, "the next picture", func() bool { return !strings.HasPrefix(x.ReadScreen(), first) })
	if n := strings.Count(x.ReadScreen(), "LISTENING"); n != 1 {
		t.Errorf("%d pictures on the screen, want one:\n%s", n, x.ReadScreen())
	}

	x.PressKeys("C-c")
	x.WaitForPrompt()
	x.TypeLine("echo code $?")
	x.WaitForText("code 0")
	x.TypeLine("clear; " + kit.BinaryPath() + " ps -n " + namespace + " several -c two")
	x.WaitForText("1/app")
	x.WaitForPrompt()
}
