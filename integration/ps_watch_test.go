package integration

import (
	"bufio"
	"encoding/json"
	"kdiag/integration/kit"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestPsWatch prints one document per line until Ctrl-C, and leaves no process
// in the pod.
func TestPsWatch(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	cmd := exec.Command(kit.BinaryPath(), "ps", "-n", namespace, "root", "--watch", "--interval=100ms", "-o", "json")
	cmd.Env = kit.Environment()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for range 3 {
		var d kit.ProcessReport
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &d) != nil {
			t.Fatalf("line %q: %v", lines.Text(), lines.Err())
		}
		d.VerifySoleProcess(t, "0")
	}

	_ = cmd.Process.Signal(syscall.SIGINT)
	for lines.Scan() {
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("code after Ctrl-C = %d, want 0", code)
	}

	kit.WaitUntil(t, "the end of inspect in the pod", func() bool {
		return !strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "kdiag inspect")
	})
}

// TestPsWatchTargetEnds says so when the application goes.
func TestPsWatchTargetEnds(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	cmd := exec.Command(kit.BinaryPath(), "ps", "-n", namespace, "root", "--watch", "--interval=100ms")
	cmd.Env = kit.Environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("no line: %v", lines.Err())
	}

	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false", "--grace-period=1")
	for lines.Scan() {
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "kdiag: ") {
		t.Errorf("code %d, %q, want 1 and the reason", code, stderr.String())
	}
}

// TestPsOnTerminal redraws in place, within the window.
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
