package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestLogsTorn prints whole lines where a container writes parts of a line, and
// lines larger than a pipe, than a runtime's buffer and than kdiag's own.
func TestLogsTorn(t *testing.T) {
	t.Parallel()
	logs := kit.StartLogs(t, "-l", "app=torn", "--tail", "-1", "--until", "over")
	logs.WaitForOutput("no pods to follow yet for")

	// The pauses are what is tested: a line that is not whole for a while.
	script := `printf 'half '; sleep 1; printf 'and '; sleep 1; echo half
x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do x=$x$x; done; echo $x
for i in 1 2 3 4; do x=$x$x; done; echo $x; echo over; sleep 1000`
	kit.ApplyManifest(t, kit.LogsNamespace(t), kit.ScriptManifest("torn", "torn", script)+kit.LoggerManifest("torn-not", "torn", "-rate", "500"))

	got := logs.CloseStdin()
	var lengths []int
	for line := range strings.Lines(got.Stdout) {
		if text, ok := strings.CutPrefix(line, "torn app "); ok {
			lengths = append(lengths, len(strings.TrimSuffix(text, "\n")))
		} else if len(strings.Fields(line)) != 4 || !strings.HasPrefix(line, "torn-not app ") {
			t.Errorf("a torn line: %.100q", line)
		}
	}

	if want := []int{len("half and half"), 16 << 13, 1 << 20, len("over")}; got.Code != 0 || !slices.Equal(lengths, want) {
		t.Errorf("code %d, lines of %v bytes, want 0 and %v: %s", got.Code, lengths, want, got.Stderr)
	}
	if !strings.Contains(got.Stderr, "note: torn/app logs lines longer than 1048576 bytes") {
		t.Errorf("stderr: %s, want a note on the line that was cut", got.Stderr)
	}
}

// TestLogsFormats prints lines as each of the flags for output wants.
func TestLogsFormats(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "formats", kit.ScriptManifest("formats", "formats", `echo 'a "quoted" <line>'; echo noise; sleep 1000`))
	namespace := kit.LogsNamespace(t)
	kit.WaitUntil(t, "the lines", func() bool { return kit.CountLogged(t, "formats") == 2 })

	logs := func(args string) string {
		t.Helper()
		got := kit.RunKdiag(t, append([]string{"logs", "-n", namespace, "formats", "--follow=false"}, strings.Fields(args)...)...)
		if got.Code != 0 || got.Stderr != "" {
			t.Errorf("logs %s: %v", args, got)
		}
		return got.Stdout
	}

	var record struct {
		Namespace, Pod, Container, Node, Stream, Line string
		Time                                          time.Time
	}
	text := logs("-o json --exclude noise")
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		t.Fatalf("%s: %v", text, err)
	}

	when := record.Time
	record.Time = time.Time{}
	want := record
	want.Namespace, want.Pod, want.Container, want.Stream, want.Line = namespace, "formats", "app", "all", `a "quoted" <line>`
	if record != want || when.IsZero() || record.Node == "" {
		t.Errorf("-o json: %s, want %+v", text, want)
	}

	stamp := when.Format("2006-01-02T15:04:05.000000000Z07:00")
	for args, want := range map[string]string{
		"--include quoted": "formats app a \"quoted\" <line>\n",
		"--include quoted --include noise --exclude a":            "formats app noise\n",
		"--exclude noise --timestamps":                            "formats app " + stamp + " a \"quoted\" <line>\n",
		"-o raw --tail 1":                                         "noise\n",
		"--tail 1 --template {{.Pod}}:{{.Line}}":                  "formats:noise\n",
		"--tail 1 --color=always --highlight ois":                 "\x1b[1;PODmformats\x1b[0m \x1b[PODmapp\x1b[0m n\x1b[7mois\x1b[27me\n",
		"--tail 1 --highlight ois":                                "formats app noise\n",
		"--tail 1 -o raw --color=always --highlight n --since=1h": "\x1b[7mn\x1b[27moise\n",
	} {
		got := logs(args)
		if at := strings.Index(want, "PODm"); at >= 0 && len(got) > 6 {
			colour, _, _ := strings.Cut(strings.TrimPrefix(got, "\x1b[1;"), "m")
			want = strings.ReplaceAll(want, "PODm", colour+"m")
		}
		if got != want {
			t.Errorf("logs %s: %q, want %q", args, got, want)
		}
	}
}

// TestLogsFile writes lines to a file, and leaves the command's output alone.
func TestLogsFile(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "file", kit.LoggerManifest("file", "file", "-rate", "50"))
	file := t.TempDir() + "/log"
	logs := kit.StartLogs(t, "file", "--logs-to", file, "-d", "0", "--", "sh", "-c", "echo out; cat; echo err >&2")
	kit.WaitUntil(t, "lines in the file", func() bool { return countLines(file) > 10 })

	got := logs.CloseStdin()
	if got.Code != 0 || got.Stdout != "out\n" || got.Stderr != "err\n" {
		t.Errorf("logs --logs-to: %v, want the command's own output alone", got)
	}

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for run, lines := range kit.GroupLines(t, string(text)) {
		kit.VerifyNoGaps(t, run, lines)
	}

	got = kit.RunKdiag(t, "logs", "-n", kit.LogsNamespace(t), "file", "--logs-to", "/dev/full", "--for=20s")
	if got.Code != 1 || !strings.Contains(got.Stderr, "kdiag: write the logs: ") {
		t.Errorf("logs --logs-to a full disk: %v, want code 1", got)
	}
}

// TestLogsTerminal has Ctrl-C reach the command, and exits with its code.
func TestLogsTerminal(t *testing.T) {
	t.Parallel()
	kit.StartLoggers(t, "terminal", kit.LoggerManifest("terminal", "terminal", "-rate", "5"))
	x := kit.OpenTerminal(t)
	x.TypeLine("clear; " + kit.BinaryPath() + " logs -n " + kit.LogsNamespace(t) + ` terminal --drain-max 1s -- sh -c 'trap "echo caught $((1+2)); exit 7" INT; echo begun $((1+1)); while :; do sleep 0.1; done'; echo code $?`)
	x.WaitForText("begun 2")
	x.WaitForText("terminal app ")
	x.PressKeys("C-c")
	x.WaitForText("caught 3")
	x.WaitForText("code 7")

	// The screen still has such lines from before.
	x.TypeLine("clear; echo begun $((2+2)); " + kit.BinaryPath() + " logs -n " + kit.LogsNamespace(t) + " terminal; echo code $?")
	x.WaitForText("begun 4")
	x.WaitForText("terminal app ")
	x.PressKeys("C-c")
	x.WaitForText("code 130")
}

// countLines counts the lines of a file, which may not be there yet.
func countLines(name string) int {
	text, _ := os.ReadFile(name)
	return bytes.Count(text, []byte("\n"))
}
