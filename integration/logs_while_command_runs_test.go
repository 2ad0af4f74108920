package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestLogsCommand follows logs from the moment a command starts until it ends, and
// exits with its code.
func TestLogsCommand(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "command", kit.LoggerManifest("command", "command", "-rate", "20"))
	before := kit.CountLogged(t, "command")
	logs := kit.StartLogs(t, "-l", "app=command", "-d", "100ms", "--drain-max", "100ms", "--",
		"sh", "-c", "echo out; echo err >&2; cat; exit 5")
	kit.WaitUntil(t, "ten lines", func() bool { return strings.Count(logs.Stderr.String(), "command app ") > 10 })

	got := logs.CloseStdin()
	if got.Code != 5 || got.Stdout != "out\n" || !strings.Contains(got.Stderr, "err\n") {
		t.Fatalf("logs -- a command that exits with 5: %v", got)
	}

	for run, lines := range kit.GroupLines(t, kit.DropNotes(strings.Replace(got.Stderr, "err\n", "", 1))) {
		kit.VerifyNoGaps(t, run, lines)
		if kit.ParseNumber(lines[0]) <= before {
			t.Errorf("the first line is %s, want none of the %d that were there before", lines[0], before)
		}
	}

	for script, want := range map[string]int{"exit 0": 0, "kill -TERM $$": 143, "kill -9 $$": 137} {
		if got := kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "command", "-q", "-d", "0", "--", "sh", "-c", script); got.Code != want {
			t.Errorf("logs -- sh -c %q: code %d, want %d", script, got.Code, want)
		}
	}
}

// TestLogsDrain waits for the lines that are still under way when the command ends.
func TestLogsDrain(t *testing.T) {
	t.Parallel()
	// The half second is what is tested: the line comes well over 300 ms after the
	// command has ended.
	script := "while :; do while ! [ -e /mark/go ]; do sleep 0.02; done; rm /mark/go; sleep 0.5; echo late; done"
	kit.StartLoggers(t, "drain", kit.ScriptManifest("drain", "drain", script))

	touch := []string{"--", "kubectl", "exec", "-n", kit.LogsNamespace(t), "drain", "--", "sh", "-c", "echo >/mark/go"}
	cut := kit.RunKdiag(t, append([]string{"logs", "-n", kit.LogsNamespace(t), "drain", "-d", "0"}, touch...)...)
	if cut.Code != 0 || strings.Contains(cut.Stderr, "late") {
		t.Errorf("logs -d 0: %v, want nothing that comes after the command", cut)
	}

	kit.WaitUntil(t, "the first line", func() bool { return kit.CountLogged(t, "drain") == 1 })
	whole := kit.RunKdiag(t, append([]string{"logs", "-n", kit.LogsNamespace(t), "drain"}, touch...)...)
	if whole.Code != 0 || whole.Stderr != "drain app late\n" {
		t.Errorf("logs: %v, want the line that was logged 500 ms later, once", whole)
	}
}

// TestLogsFailOn exits with 3 if a line matches and the command succeeds.
func TestLogsFailOn(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "failon", kit.ScriptManifest("failon", "failon", "echo old trouble; while :; do sleep 0.2; echo some trouble here; echo noise; done"))
	kit.WaitUntil(t, "the old line", func() bool { return kit.CountLogged(t, "failon") > 0 })
	failOn := func(args ...string) kit.Result {
		t.Helper()
		logs := kit.StartLogs(t, append([]string{"failon", "-q", "-d", "100ms", "--drain-max", "1s"}, args...)...)
		// Between two lines of noise there is one of trouble.
		kit.WaitUntil(t, "two lines of noise, or the end", func() bool {
			return strings.Count(logs.Stderr.String(), " noise\n") > 1 || logs.HasEnded()
		})
		return logs.CloseStdin()
	}

	got := failOn("--fail-on", "tro.ble", "--exclude", "trouble", "--", "sh", "-c", "cat; echo out")
	if got.Code != 3 || got.Stdout != "out\n" || !strings.Contains(got.Stderr, "failon app some trouble here") {
		t.Errorf("logs --fail-on: %v, want code 3 and the line, though it is excluded", got)
	}
	got = failOn("--fail-on", "old", "--tail", "-1", "--", "sh", "-c", "cat; exit 4")
	if got.Code != 4 || !strings.Contains(got.Stderr, "old trouble") {
		t.Errorf("logs --fail-on a line of before: %v, want the command's code and the line", got)
	}
	if got = failOn("--fail-on", "trouble"); got.Code != 3 {
		t.Errorf("logs --fail-on without a command: %v, want code 3", got)
	}
}

// TestLogsUntilFor ends by a line, by the time, or by the command, and tells by the
// exit code which.
func TestLogsUntilFor(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "until", kit.LoggerManifest("until", "until", "-rate", "10"))
	for _, test := range []struct {
		args string
		want int
	}{
		{"--until [0-9]$", 0},
		{"--until [0-9]$ -- sleep 100", 0},
		{"--for 500ms", 0},
		{"--for 500ms -- sleep 100", 143},
		{"--for 500ms --until never", 1},
		{"--for 500ms --until never -- sleep 100", 1},
		{"--until never -- false", 1},
	} {
		args := append([]string{"logs", "-n", kit.LogsNamespace(t), "until", "-d", "0"}, strings.Fields(test.args)...)
		if got := kit.RunKdiag(t, args...); got.Code != test.want {
			t.Errorf("logs %s: %v, want code %d", test.args, got, test.want)
		}
	}
}
