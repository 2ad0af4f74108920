//go:build unix

package completion

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestServerThatDoesNotAnswer has types at least, and in good time: without its
// bound this test would not end.
func TestServerThatDoesNotAnswer(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close() //nolint:errcheck // only read
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	got := answered(t, "shell", "--server=http://"+deaf.Addr().String(), "d")
	if want := "deploy/\tdeployments\nds/\tdaemonsets\n:6\n"; got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}
}

// TestPluginThatHangs has a credential plugin that waits until the test ends.
func TestPluginThatHangs(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}

	config := `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
		"users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
			"command": "cat", "args": ["` + pipe + `"], "interactiveMode": "Never"}}}]}`
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := answered(t, "shell", "--kubeconfig", file, "d"), "deploy/\tdeployments\nds/\tdaemonsets\n:6\n"; got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}

	// The plugin has its end of the pipe open, or will; this ends it.
	end, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}

	_, _ = io.WriteString(end, "no credential")
	end.Close()
}
