package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestShellExitCodeAndStreams keeps stdout and stderr apart, reads stdin, and exits
// with the code of the script.
func TestShellExitCodeAndStreams(t *testing.T) {
	namespace := kit.SharedPods(t)
	// Other tests may have left a container of a lesser profile, which would be said.
	got := kit.RunKdiag(t, "shell", "-n", namespace, "--profile=chroot", "deploy/web", "--", "-c", "echo o; echo e >&2; exit 7")
	if got != kit.NewResult("o\n", "e\n", 7) {
		t.Errorf("shell: %v\nwant o and e apart, code 7", got)
	}

	got = kit.RunKdiag(t, "shell", "deploy/web", "-n", namespace, "--", "-c", "kill -TERM $$")
	if got.Code != 128+15 {
		t.Errorf("shell killed by SIGTERM: %v\nwant code 143", got)
	}

	// Any order of flags and command will do.
	got = kit.RunKdiagWith(t, "one\ntwo\n", nil, "-n", namespace, "shell", "svc/web", "--", "-c", "wc -l")
	if got.Code != 0 || strings.TrimSpace(got.Stdout) != "2" {
		t.Errorf("shell with stdin: %v\nwant 2 lines", got)
	}

	// A script on stdin, as with any shell.
	got = kit.RunKdiagWith(t, "echo $((6*7))\nexit 3\n", nil, "shell", "-n", namespace, "-lapp=web")
	if got.Code != 3 || got.Stdout != "42\n" {
		t.Errorf("shell with a script: %v\nwant 42 and code 3", got)
	}
}

// TestShellBytes sends every byte there and back, more than any buffer holds.
func TestShellBytes(t *testing.T) {
	namespace := kit.SharedPods(t)
	var all strings.Builder
	for i := range 1 << 20 {
		all.WriteByte(byte(i * 7 >> 3))
	}

	got := kit.RunKdiagWith(t, all.String(), nil, "shell", "-n", namespace, "deploy/web", "--", "-c", "cat")
	if got.Code != 0 || got.Stdout != all.String() {
		t.Errorf("cat of %d bytes: code %d, %d bytes back, the same: %v", all.Len(), got.Code, len(got.Stdout), got.Stdout == all.String())
	}
}

// TestPlugin has kubectl find the binary, as one file in an empty directory.
func TestPlugin(t *testing.T) {
	namespace := kit.SharedPods(t)
	dir := t.TempDir()
	binary, err := os.ReadFile(kit.BinaryPath())
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(filepath.Join(dir, "kubectl-kdiag"), binary, 0o755); err != nil {
		t.Fatal(err)
	}

	env := kit.Environment("PATH=" + dir + ":" + os.Getenv("PATH"))
	got := kit.RunCommand(t, "", env, "kubectl", "kdiag", "shell", "deploy/web", "-n", namespace, "--", "-c", "echo from the plugin; exit 9")
	if got.Stdout != "from the plugin\n" || got.Code == 0 {
		t.Errorf("kubectl kdiag: %v", got)
	}
}
