package integration

import (
	"kdiag/integration/kit"
	"strings"
	"testing"
)

func TestLogsCommand(t *testing.T) {
	t.Parallel()
	kit.StartPods(t, "command", kit.WriteLoggerPod("command", "command", "-rate", "20"))
	before := kit.CountLogged(t, "command")
	got := kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "-l", "app=command", "-d", "100ms", "--drain-max", "100ms", "--",
		"sh", "-c", "echo out; echo err >&2; sleep 1; exit 5")
	if got.Code != 5 || got.Stdout != "out\n" || !strings.Contains(got.Stderr, "err\n") {
		t.Fatalf("logs -- a command that exits with 5: %v", got)
	}

	for of, row := range kit.GroupLines(t, kit.DropNotes(strings.Replace(got.Stderr, "err\n", "", 1))) {
		first := kit.ParseNumber(row[0])
		kit.VerifyLines(t, of, row, first, first+len(row)-1)
		if first <= before || len(row) < 10 {
			t.Errorf("lines %s to %s, want those after %d, which were there before, for a second", row[0], row[len(row)-1], before)
		}
	}

	for script, want := range map[string]int{"exit 0": 0, "kill -TERM $$": 143, "kill -9 $$": 137} {
		if got := kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "command", "-q", "-d", "0", "--", "sh", "-c", script); got.Code != want {
			t.Errorf("logs -- sh -c %q: code %d, want %d", script, got.Code, want)
		}
	}
}

func TestLogsDrain(t *testing.T) {
	t.Parallel()
	// Half a second after the file was made, so well over 300 ms after the
	// command that made it has ended.
	script := "while :; do while ! [ -e /mark/go ]; do sleep 0.02; done; rm /mark/go; sleep 0.5; echo late; done"
	kit.StartPods(t, "drain", kit.WriteScriptPod("drain", "drain", script))
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

func TestLogsFailOn(t *testing.T) {
	t.Parallel()
	kit.StartPods(t, "failon", kit.WriteScriptPod("failon", "failon", "echo old trouble; while :; do sleep 0.2; echo some trouble here; done"))
	kit.WaitUntil(t, "the old line", func() bool { return kit.CountLogged(t, "failon") > 0 })
	base := []string{"logs", "-n", kit.LogsNamespace(t), "failon", "-q", "-d", "100ms", "--drain-max", "1s"}
	got := kit.RunKdiag(t, append(base, "--fail-on", "tro.ble", "--exclude", ".", "--", "sh", "-c", "sleep 1; echo out")...)
	if got.Code != 3 || got.Stdout != "out\n" || !strings.Contains(got.Stderr, "failon app some trouble here") {
		t.Errorf("logs --fail-on: %v, want code 3 and the line", got)
	}

	got = kit.RunKdiag(t, append(base, "--fail-on", "old", "--tail", "-1", "--", "sh", "-c", "sleep 1; exit 4")...)
	if got.Code != 4 || !strings.Contains(got.Stderr, "old trouble") {
		t.Errorf("logs --fail-on a line of before: %v, want the command's code and the line", got)
	}
	if got := kit.RunKdiag(t, append(base, "--fail-on", "trouble")...); got.Code != 3 {
		t.Errorf("logs --fail-on without a command: %v, want code 3", got)
	}
}

func TestLogsUntilFor(t *testing.T) {
	t.Parallel()
	kit.StartPods(t, "until", kit.WriteLoggerPod("until", "until", "-rate", "10"))
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
