package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets"
)

// failingFile fails as a file does.
type failingFile struct{ err error }

func (f failingFile) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: f.err}
}

// linesThatPrint returns command lines that print something and need no cluster.
func linesThatPrint() [][]string {
	lines := [][]string{{"--help"}, {"--version"}, {"--list"}, {"help"}, {"version"}, {"role"}, {"completion", "bash"}, {"__complete", ""}, {"image", "--help"}}
	for _, a := range registry() {
		if a.Description != "" || len(a.Flags) > 0 {
			lines = append(lines, []string{a.Name, "--help"})
		}
	}
	return lines
}

// TestWriteFailures has every command fail that cannot print.
func TestWriteFailures(t *testing.T) {
	becomeNewUser(t)
	for _, line := range linesThatPrint() {
		verifyWriteFailures(t, line)
	}
}

// TestWriteFailuresWithCluster does so for the commands that ask a cluster.
func TestWriteFailuresWithCluster(t *testing.T) {
	becomeNewUser(t)
	api := newFakeAPI(t, "")
	for _, line := range [][]string{
		{"doctor"}, {"doctor", "web", "-o", "json"}, {"logs", "web", "--follow=false"}, {"version", "-o", "json"},
	} {
		verifyWriteFailures(t, append(line, api.connectionFlags()...))
	}

	api.stdout = "a line\n"
	verifyWriteFailures(t, slices.Concat([]string{"shell", "web"}, api.connectionFlags(), []string{"--", "-c", "ls"}))
}

// verifyWriteFailures runs a command whose stdout fails. A full disk is an error; a reader that has
// gone is what ends other programs without a word.
func verifyWriteFailures(t *testing.T, line []string) {
	t.Helper()
	for err, want := range map[error]int{syscall.ENOSPC: applets.ExitFailure, syscall.EPIPE: applets.ExitBrokenPipe} {
		var stderr bytes.Buffer
		code := run(append([]string{"kdiag"}, line...), strings.NewReader(""), failingFile{err}, &stderr)
		said := "write to stdout: " + err.Error()
		if errors.Is(err, syscall.EPIPE) {
			said = ""
		}
		if code != want || !strings.Contains(stderr.String(), said) || said == "" && strings.Contains(stderr.String(), "kdiag: ") {
			t.Errorf("%q with %v: code %d, stderr %q, want code %d and %q", line, err, code, &stderr, want, said)
		}
	}
}

// kdiagProcess returns this program as a process of its own (TestMain).
func kdiagProcess(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Args = append([]string{"kdiag"}, args...)
	return cmd
}

// TestFullDevice writes to a device that takes nothing, as a process of its own.
func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	defer full.Close()

	var stderr bytes.Buffer
	cmd := kdiagProcess("help")
	cmd.Stdout, cmd.Stderr = full, &stderr
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 || stderr.String() != "kdiag: write to stdout: no space left on device\n" {
		t.Errorf("help > /dev/full: code %d, stderr %q, want 1 and why", code, &stderr)
	}
}

// TestReaderGone ends as other programs do whose pipe has no reader.
func TestReaderGone(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	defer write.Close()

	var stderr bytes.Buffer
	cmd := kdiagProcess("help")
	cmd.Stdout, cmd.Stderr = write, &stderr
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != applets.ExitBrokenPipe || stderr.String() != "" {
		t.Errorf("help into a closed pipe: code %d, stderr %q, want 141 and nothing", code, &stderr)
	}
}
