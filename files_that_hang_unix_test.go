//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets"
)

// makePipe makes a named pipe that nobody writes to.
func makePipe(t *testing.T, name string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { endReaders(t, name) })
	return name
}

// endReaders lets those go that still wait for a pipe, and removes it. client-go holds a lock of the
// whole process while it reads, which the tests after this one need.
func endReaders(t *testing.T, path string) {
	t.Helper()
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}

	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
	_ = writer.Close()
}

// TestKeyThatHangs wants a key file that is a pipe ignored: the container is for this run alone.
func TestKeyThatHangs(t *testing.T) {
	becomeNewUser(t)
	makePipe(t, filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "kdiag", "key.pem"))
	api := newFakeAPI(t, "")

	code, _, stderr := api.runKdiag("shell", "web", "-n", "ns", "--", "-c", "true")
	if code != 0 || !strings.Contains(stderr, "key.pem: not a regular file") {
		t.Errorf("shell: code %d, stderr %q, want a note about the key", code, stderr)
	}

	container := api.pod.Spec.EphemeralContainers[0]
	if arguments := strings.Join(container.Args, " "); !strings.Contains(arguments, "--idle-timeout=10s") {
		t.Errorf("container runs %q, want it to end soon after the session", arguments)
	}

	for _, command := range []string{"doctor", "version"} {
		code, stdout, stderr := api.runKdiag(command, "-n", "ns", "web")
		if !strings.Contains(stdout+stderr, "key.pem: not a regular file") {
			t.Errorf("%s: code %d, %q, %q, want the key named", command, code, stdout, stderr)
		}
	}
}

// TestFilesThatHang wants each command to give up when the time is over, and to name what it waited
// for.
func TestFilesThatHang(t *testing.T) {
	becomeNewUser(t)
	pipe := makePipe(t, filepath.Join(t.TempDir(), "pipe"))
	for _, command := range [][]string{{"shell", "web"}, {"redir", "web", "80"}, {"ps", "web"}, {"doctor"}} {
		for _, flags := range [][]string{
			{"--kubeconfig=" + pipe},
			{"--kubeconfig=/dev/null", "--certificate-authority=" + pipe},
			{"--kubeconfig=/dev/null", "--client-certificate=" + pipe, "--client-key=" + pipe},
		} {
			line := append(append([]string{"kubectl-kdiag"}, command...), append(flags, "--server=https://127.0.0.1:1", "--timeout=100ms")...)
			var out bytes.Buffer
			code := run(line, strings.NewReader(""), &out, &out)
			if code != applets.ExitFailure || !strings.Contains(out.String(), "read the kubeconfig and the files that it names: no answer within 100ms") {
				t.Errorf("%q: code %d, %q, want the wait to end", line[1:], code, out.String())
			}
		}
	}
}

// TestBadImageName wants a name that cannot be an image's refused before anything is asked.
func TestBadImageName(t *testing.T) {
	becomeNewUser(t)
	api := newFakeAPI(t, "")
	for _, command := range [][]string{{"shell", "web"}, {"redir", "web", "80"}, {"ps", "web"}, {"doctor", "web"}, {"doctor"}} {
		for _, image := range []string{"localhost/kdiag:dev ", "Bad Image!", "NOT/A/NAME"} {
			t.Setenv("KDIAG_IMAGE", image)
			code, _, stderr := api.runKdiag(command...)
			if code != applets.ExitUsage || !strings.Contains(stderr, "environment variable KDIAG_IMAGE: ") {
				t.Errorf("%q with KDIAG_IMAGE=%q: code %d, stderr %q, want the name refused", command, image, code, stderr)
			}

			t.Setenv("KDIAG_IMAGE", "")
			code, _, stderr = api.runKdiag(append(command, "--image", image)...)
			if code != applets.ExitUsage || !strings.Contains(stderr, "--image: ") {
				t.Errorf("%q --image %q: code %d, stderr %q, want the name refused", command, image, code, stderr)
			}
		}
	}

	if len(api.requests) > 0 {
		t.Errorf("the server was asked %d times, want never", len(api.requests))
	}
}
