//go:build unix

package capture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets"
)

// plantWireshark puts a script of the name wireshark first in PATH, and returns its folder.
func plantWireshark(t *testing.T, script string) string {
	t.Helper()
	folder := t.TempDir()
	if script != "" {
		text := "#!/bin/sh\nPATH=/usr/bin:/bin\ncd " + folder + "\n" + script + "\n"
		if err := os.WriteFile(filepath.Join(folder, "wireshark"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder)

	return folder
}

// TestWindowIsClosed ends a capture when Wireshark ends: that is no fault.
func TestWindowIsClosed(t *testing.T) {
	folder := plantWireshark(t, `echo "$@" >args; head -c 2000 >packets`)
	r := startCapture(t, newManyPods(t), options{shown: shown{wireshark: true}})
	if err := r.wait(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}

	for name, want := range map[string]string{"args": "-k -i -", "packets": "web-0/eth0"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("Wireshark got as %s %.300q, %v, want %q", name, content, err, want)
		}
	}
}

// TestWindowStays lets Wireshark read to the end when the capture is ended.
func TestWindowStays(t *testing.T) {
	folder := plantWireshark(t, `cat >packets; echo done >end`)
	r := startCapture(t, newManyPods(t), options{shown: shown{wireshark: true}})
	r.notes.waitFor(t, "capturing from eth0")
	waitForFile(t, filepath.Join(folder, "packets"), "web-0/eth0")
	if err := r.stop(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}
	waitForFile(t, filepath.Join(folder, "end"), "done")
}

// TestWindowCannotOpen says why Wireshark has ended.
func TestWindowCannotOpen(t *testing.T) {
	plantWireshark(t, `echo noise >&2; echo "could not connect to display" >&2; exit 1`)
	r := startCapture(t, newManyPods(t), options{shown: shown{wireshark: true}})
	err := r.wait()
	if err == nil || !strings.Contains(err.Error(), "it ended with exit code 1: could not connect to display") {
		t.Errorf("the capture ended with %v, want what Wireshark says", err)
	}
}

// TestNoWireshark says how to install it, before the cluster is asked.
func TestNoWireshark(t *testing.T) {
	plantWireshark(t, "")
	_, err := startWireshark(t.Context())
	if err == nil || len(applets.Hints(err)) != 1 || !strings.Contains(applets.Hints(err)[0], "install") {
		t.Errorf("startWireshark() = %v, hints %q, want how to install it", err, applets.Hints(err))
	}
	for system, want := range map[string]string{"linux": "apt-get", "darwin": "brew", "windows": "winget"} {
		if got := installHint(system); !strings.Contains(got, want) {
			t.Errorf("installHint(%s) = %q, want %s", system, got, want)
		}
	}
}

// TestPipeWithoutReader ends although nobody opens the pipe.
func TestPipeWithoutReader(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := awaitReader(ctx, fifo)
		done <- err
	}()

	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("awaitReader() = %v, want that it was ended", err)
	}
}

// TestLinkLeadsToNameInPath checks that the link outlives an update.
func TestLinkLeadsToNameInPath(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	if got, err := findOwnProgram(); got != own || err != nil {
		t.Errorf("findOwnProgram() = %q, %v, want %q", got, err, own)
	}

	link := filepath.Join(folder, "kubectl-kdiag")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	if got, err := findOwnProgram(); got != link || err != nil {
		t.Errorf("findOwnProgram() = %q, %v, want the name in PATH, %q", got, err, link)
	}
}
