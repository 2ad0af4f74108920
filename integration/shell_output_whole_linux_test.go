package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// lastLines is what a script prints at its end. It is still under way when the script has ended.
const lastLines = 200_000

// slowFlags returns flags that reach the cluster over a slow link.
func slowFlags(t *testing.T) []string {
	t.Helper()
	api := kit.ReadServerURL(t)
	link := kit.StartLink(t, api.Port(), kit.LinkSpeed{RoundTrip: 50 * time.Millisecond, BitRate: 4e6})
	return []string{"--server=https://" + link, "--tls-server-name=" + api.Hostname()}
}

// TestShellOutputIsWholeOverSlowLink gets the last of a script's output, and its exit code, over a
// link of 500 KB/s, on which kubectl loses them: the kubelet ends the streams with the process.
func TestShellOutputIsWholeOverSlowLink(t *testing.T) {
	namespace := kit.SharedPods(t)
	script := fmt.Sprintf("echo begins >&2; seq 1 %d; exit 3", lastLines)
	args := append([]string{"shell", "-n", namespace, "deploy/web"}, slowFlags(t)...)

	got := kit.RunKdiag(t, append(args, "--", "-c", script)...)
	lines := strings.Count(got.Stdout, "\n")
	if got.Code != 3 || lines != lastLines || !strings.HasSuffix(got.Stdout, fmt.Sprintf("\n%d\n", lastLines)) || !strings.Contains(got.Stderr, "begins\n") {
		t.Errorf("shell: code %d, %d lines, stderr %q, want code 3, %d lines, and what went to stderr", got.Code, lines, got.Stderr, lastLines)
	}
}

// TestTerminalOutputIsWholeOverSlowLink gets what a shell printed just before it ended.
func TestTerminalOutputIsWholeOverSlowLink(t *testing.T) {
	namespace := kit.SharedPods(t)
	x := kit.OpenTerminal(t)
	x.OpenShell("readonly/app:", append([]string{"readonly", "-n", namespace}, slowFlags(t)...)...)
	x.TypeLine("seq 1 50000; exit 5")
	x.WaitForPrompt()
	x.TypeLine("echo code $?")
	x.WaitForText("code 5")
	if screen := x.ReadScreen(); !strings.Contains(screen, "49999\n50000\n") {
		t.Errorf("screen: %q, want the last lines", screen)
	}
}

// TestShellOnFullDisk says that a backup is not whole.
func TestShellOnFullDisk(t *testing.T) {
	namespace := kit.SharedPods(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()

	for _, args := range [][]string{
		{"shell", "-n", namespace, "deploy/web", "--", "-c", "yes"},
		{"ps", "-n", namespace, "deploy/web", "--watch"},
		{"doctor", "-n", namespace, "deploy/web"},
		{"logs", "-n", namespace, "deploy/web", "--follow=false"},
	} {
		var stderr strings.Builder
		cmd := exec.CommandContext(t.Context(), kit.BinaryPath(), args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = kit.Environment(), full, &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "write to stdout: no space left on device\n") {
			t.Errorf("kdiag %s > /dev/full: code %d, stderr %q, want code 1 and why", args[0], code, stderr.String())
		}
	}
}

// TestShellReaderGone leaves nothing in the pod when the reader of the output ends.
func TestShellReaderGone(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	line := `"$0" shell -n "$1" root -- -c 'yes endless' | head -1; echo "code ${PIPESTATUS[0]}"`
	got := kit.RunCommand(t, "", kit.Environment(), "bash", "-c", line, kit.BinaryPath(), namespace)
	if got.Stdout != "endless\ncode 141\n" || got.Stderr != "" {
		t.Errorf("yes | head -1: %v, want one line and code 141", got)
	}
	kit.WaitUntil(t, "the end of the script in the pod", func() bool {
		return !strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "endless")
	})
}

// TestShellKilledLeavesNothing ends a script whose kdiag is killed before the lifeline is there.
func TestShellKilledLeavesNothing(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true")
	shell := kit.StartKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo ready; cat; sleep 1000; echo endless")
	shell.WaitForLines(1)
	shell.Signal(syscall.SIGKILL)
	kit.WaitUntil(t, "the end of the script in the pod", func() bool {
		return !strings.Contains(kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").Stdout, "endless")
	})
}

// TestShellBackup writes a file through a redirect, and compares it.
func TestShellBackup(t *testing.T) {
	namespace := kit.SharedPods(t)
	path := filepath.Join(t.TempDir(), "backup")
	line := `"$0" shell -n "$1" deploy/web -- -c 'cat /app' > "$2" && sha256sum < "$2" | cut -c1-64`
	got := kit.RunCommand(t, "", kit.Environment(), "bash", "-c", line, kit.BinaryPath(), namespace, path)
	want := kit.RunKdiag(t, "shell", "-n", namespace, "deploy/web", "--", "-c", "sha256sum < /app | cut -c1-64")
	if got.Code != 0 || got.Stdout != want.Stdout || len(got.Stdout) != 65 {
		t.Errorf("backup: %v, want %v", got, want)
	}
}
