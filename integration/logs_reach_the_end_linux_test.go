package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestLogsTailIsExact begins with the last lines in order, while the pod writes: none
// twice, none from before them, and none of them counts for --fail-on.
func TestLogsTailIsExact(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "tail", kit.LoggerManifest("tail", "tail", "-rate", "50"))
	kit.WaitUntil(t, "lines of more than a second", func() bool { return kit.LastLogged(t, "tail") > 100 })
	for range 4 {
		before := kit.LastLogged(t, "tail")
		// No new line ends in the number that the pod has reached already.
		failOn := fmt.Sprintf(" (%d|%d|%d)$", before-20, before-1, before)
		got := kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "tail", "--tail", "5", "--for", "1s", "--fail-on", failOn)
		if got.Code != 0 {
			t.Fatalf("logs --tail: %v, want code 0", got)
		}
		for run, lines := range kit.GroupLines(t, got.Stdout) {
			kit.VerifyNoGaps(t, run, lines)
			if first := kit.ParseNumber(lines[0]); first < before-4 || len(lines) < 6 {
				t.Errorf("%d lines from %d on, want 5 from before the start and some of after it; %d were logged", len(lines), first, before)
			}
		}
	}
}

// startLogsTo starts "kdiag logs" with a stdout and a stderr of the test's.
func startLogsTo(t *testing.T, stdout, stderr io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(kit.BinaryPath(), append([]string{"logs", "-n", kit.LogsNamespace(t)}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = kit.Environment(), stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// openPipe opens a pipe that the test reads, or does not.
func openPipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(read.Close(), write.Close()) })
	return read, write
}

// TestLogsReaderThatStops: a reader that reads nothing while lines come gets all of them
// afterwards, in order.
func TestLogsReaderThatStops(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "stops", kit.LoggerManifest("stops", "stops", "-rate", "5000"))
	read, write := openPipe(t)
	var notes bytes.Buffer
	cmd := startLogsTo(t, write, &notes, "stops", "--for", "4s")
	began := kit.LastLogged(t, "stops")
	_ = write.Close()
	kit.WaitUntil(t, "more lines than a pipe holds", func() bool { return kit.LastLogged(t, "stops") > began+20_000 })

	text, err := io.ReadAll(read)
	if err = errors.Join(err, cmd.Wait()); err != nil || notes.Len() > 0 {
		t.Fatalf("logs: %v, %s, want neither an error nor a note", err, notes.String())
	}
	for run, lines := range kit.GroupLines(t, string(text)) {
		if kit.VerifyNoGaps(t, run, lines); len(lines) < 10_000 {
			t.Errorf("%d lines in 4 s, want 20000 or so", len(lines))
		}
	}
}

// TestLogsStuckStderr: a line that comes while nobody reads stderr counts for --fail-on.
func TestLogsStuckStderr(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "stuck", kit.LoggerManifest("stuck", "stuck", "-rate", "500", "-long", "300"))
	_, write := openPipe(t)
	ready := filepath.Join(t.TempDir(), "ready")
	done := filepath.Join(t.TempDir(), "done")
	wanted := kit.LastLogged(t, "stuck") + 2500
	cmd := startLogsTo(t, nil, write, "stuck", "--fail-on", fmt.Sprintf(" %dx+$", wanted), "-d", "100ms", "--drain-max", "1s",
		"--", "sh", "-c", "echo >"+ready+"; until [ -e "+done+" ]; do sleep 0.1; done")
	kit.WaitUntil(t, "the command to start", func() bool { return fileExists(ready) })
	kit.WaitUntil(t, "the line", func() bool { return kit.LastLogged(t, "stuck") > wanted+100 })
	if err := os.WriteFile(done, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("code %d, want 3: the line was logged", cmd.ProcessState.ExitCode())
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestLogsCommandGoesOn: neither a full disk nor a stderr that nobody reads any more ends
// the user's command. Its code counts.
func TestLogsCommandGoesOn(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "goeson", kit.LoggerManifest("goeson", "goeson", "-rate", "100"))
	// The pause is what is tested: lines come while the command runs.
	command := []string{"--", "sh", "-c", "sleep 1; echo survived; exit 7"}

	got := kit.RunKdiag(t, append([]string{"logs", "-n", kit.LogsNamespace(t), "goeson", "--logs-to", "/dev/full", "-d", "0"}, command...)...)
	if got.Code != 7 || got.Stdout != "survived\n" || !strings.Contains(got.Stderr, "note: log lines are not written any more, and the command goes on: ") {
		t.Errorf("logs --logs-to a full disk: %v, want the command's code and output, and a note", got)
	}

	read, write := openPipe(t)
	var stdout bytes.Buffer
	cmd := startLogsTo(t, &stdout, write, append([]string{"goeson", "-d", "0"}, command...)...)
	_ = errors.Join(write.Close(), read.Close())
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 7 || stdout.String() != "survived\n" {
		t.Errorf("logs with a stderr that is closed: %s, stdout %q, want code 7 and the command's output", cmd.ProcessState, stdout.String())
	}

	if got := kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "goeson", "--until", `no\.such`, "--for", "1ms"); !strings.Contains(got.Stderr, `--until "no\.such" within`) {
		t.Errorf("logs --until: %v, want the pattern as it was given", got)
	}
}

// TestLogsThroughRotation: a pod writes so fast that its log file is rotated. Each line
// comes once and in order, or a note says what is missing.
func TestLogsThroughRotation(t *testing.T) {
	t.Parallel()
	namespace := kit.LogsNamespace(t)
	kit.StartLoggers(t, "rotated", kit.LoggerManifest("rotated", "rotated", "-rate", "15000"))
	logs := kit.StartLogs(t, "rotated", "--tail", "1")
	logs.WaitForOutput("rotated app ")
	kit.WaitUntil(t, "the log file to be rotated", func() bool {
		first := kit.RunKubectl(t, "logs", "-n", namespace, "rotated", "--limit-bytes=40")
		words := strings.Fields(first)
		return len(words) > 1 && kit.ParseNumber(words[1]) > kit.ParseNumber(strings.Fields(logs.Stdout.String())[3])
	})
	// Lines from behind the rotation are there, too.
	lines := strings.Count(logs.Stdout.String(), "\n")
	kit.WaitUntil(t, "more lines", func() bool { return strings.Count(logs.Stdout.String(), "\n") > lines+5000 })
	got := logs.Interrupt()
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "rotated", "--wait=false")

	jumps, before := 0, 0
	for line := range strings.Lines(got.Stdout) {
		words := strings.Fields(line)
		if len(words) != 4 {
			t.Fatalf("a torn line: %q", line)
		}
		number := kit.ParseNumber(words[3])
		if before > 0 && number <= before {
			t.Fatalf("line %d after line %d", number, before)
		}
		// What is lost in the very milliseconds of the rotation is below a note.
		if before > 0 && number > before+15000/2 {
			jumps++
		}
		before = number
	}
	if notes := len(regexp.MustCompile(`about \S+ s of rotated/app are missing here`).FindAllString(got.Stderr, -1)); notes < jumps {
		t.Errorf("%d jumps and %d notes: %s", jumps, notes, got.Stderr)
	}
	t.Logf("%d lines, %d jumps, notes %q", strings.Count(got.Stdout, "\n"), jumps, got.Stderr)
}
