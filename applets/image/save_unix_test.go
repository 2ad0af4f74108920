//go:build unix

package image

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kdiag/applets"
	"kdiag/integration/testenv"
)

// TestWriteFilePipe writes to what must not be replaced.
func TestWriteFilePipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}

	read := make(chan string)
	go func() {
		content, _ := os.ReadFile(pipe)
		read <- string(content)
	}()

	size, err := writeFile(pipe, func(w io.Writer) error {
		_, err := io.WriteString(w, "text")
		return err
	})
	if got := <-read; got != "text" || size != 4 || err != nil {
		t.Errorf("writeFile = %d, %v; through the pipe came %q", size, err, got)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe was replaced: %v, %v", info, err)
	}
}

// TestSaveMode checks that the umask decides who may read the file.
func TestSaveMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	file := filepath.Join(t.TempDir(), "file")
	if _, err := writeFile(file, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want 0640 (%v)", info.Mode(), err)
	}
}

// TestSaveToTerminal checks that no terminal is filled with an archive.
func TestSaveToTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil || !applets.IsTerminal(terminal) {
		testenv.Missing(t, "no pseudo-terminals: %v", err)
	}
	defer terminal.Close()

	err = saveImage(t.Context(), applets.Streams{Out: terminal, Err: io.Discard}, saveOptions{
		buildOptions: buildOptions{Platform: "linux/amd64", Binary: kdiagFor("amd64").path(t)}, File: "-", Image: "kdiag",
	})
	wantError(t, err, "stdout is a terminal")
	if applets.ExitCode(err) != applets.ExitUsage {
		t.Errorf("exit code %d, want %d", applets.ExitCode(err), applets.ExitUsage)
	}
}
