package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var (
	logsOnce sync.Once
	logsIn   string
)

// logsNamespace is where every test of logs has its pods, each under a label
// of its own.
func logsNamespace(t *testing.T) string {
	t.Helper()
	logsOnce.Do(func() { logsIn = newNamespace(t) })
	if logsIn == "" {
		t.Fatal("no namespace for the logs")
	}
	return logsIn
}

// logger is the manifest of a pod that runs the logger in a container "app",
// with the label app=LABEL.
func logger(name, label string, args ...string) string {
	quoted, _ := json.Marshal(args)
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %q, labels: {app: %q}}
spec:
  terminationGracePeriodSeconds: 5
  automountServiceAccountToken: false
  containers:
  - name: app
    image: localhost/kdiag-sample:logger
    imagePullPolicy: Never
    args: %s
    volumeMounts: [{name: mark, mountPath: /mark}]
  volumes: [{name: mark, emptyDir: {}}]
---
`, name, label, quoted)
}

// scripted is the same with a shell script in place of the logger.
func scripted(name, label, script string) string {
	text := logger(name, label)
	quoted, _ := json.Marshal([]string{"sh", "-c", script})
	return strings.Replace(text, "    args: null\n", "    command: "+string(quoted)+"\n", 1)
}

// running applies pods and waits until each of the label has started.
func running(t *testing.T, label, manifest string) {
	t.Helper()
	namespace := logsNamespace(t)
	apply(t, namespace, manifest)
	eventually(t, "the pods of "+label, func() bool {
		started := kubectl(t, "get", "pods", "-n", namespace, "-l", "app="+label, "-o",
			`jsonpath={range .items[*]}[{.status.containerStatuses[0].started}]{end}`)
		return started != "" && strings.Count(started, "[true]") == strings.Count(started, "[")
	})
}

// following is a kdiag logs that runs in the background.
type following struct {
	cmd            *exec.Cmd
	stdin          io.Closer
	stdout, stderr *collected
}

// collected is what a process has written so far.
type collected struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *collected) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *collected) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// follow starts "kdiag logs" in the tests' namespace. Its stdin stays open
// until end.
func follow(t *testing.T, args ...string) *following {
	t.Helper()
	f := &following{stdout: &collected{}, stderr: &collected{}}
	f.cmd = exec.CommandContext(t.Context(), shared.binary(), append([]string{"logs", "-n", logsNamespace(t)}, args...)...)
	f.cmd.Env = shared.env()
	f.cmd.Stdout, f.cmd.Stderr = f.stdout, f.stderr
	var err error
	if f.stdin, err = f.cmd.StdinPipe(); err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}

	return f
}

// has waits until kdiag has printed something.
func (f *following) has(t *testing.T, what string) {
	t.Helper()
	eventually(t, strconv.Quote(what), func() bool {
		return strings.Contains(f.stdout.String()+f.stderr.String(), what)
	})
}

// end closes stdin, which ends a command such as cat, and waits for kdiag.
func (f *following) end(t *testing.T) result {
	t.Helper()
	_ = f.stdin.Close()
	err := f.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{f.stdout.String(), f.stderr.String(), f.cmd.ProcessState.ExitCode()}
}

// instance is a run of the logger: its pod and the instance it calls itself.
type instance struct{ pod, id string }

// counted are the lines of each instance of a logger, in the order in which
// they came: their numbers, or "end".
func counted(t *testing.T, text string) map[instance][]string {
	t.Helper()
	got := map[instance][]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if !strings.HasSuffix(line, "\n") || len(words) != 4 {
			t.Errorf("line %q, want one of POD app INSTANCE NUMBER", line)
			continue
		}
		of := instance{words[0], words[2]}
		got[of] = append(got[of], words[3])
	}

	return got
}

// checkRow reports lines that are not there, or twice, or not in order.
func checkRow(t *testing.T, of instance, lines []string, first, last int) {
	t.Helper()
	want := make([]string, 0, last-first+1)
	for n := first; n <= last; n++ {
		want = append(want, strconv.Itoa(n))
	}

	if slices.Equal(lines, want) {
		return
	}

	at := 0
	for at < len(lines) && at < len(want) && lines[at] == want[at] {
		at++
	}

	t.Errorf("%s %s: %d lines, want %d to %d; the first that differ: %q",
		of.pod, of.id, len(lines), first, last, lines[at:min(at+5, len(lines))])
}

// number is the number of a line of the logger, 0 for its last word.
func number(line string) int {
	n, _ := strconv.Atoi(line)
	return n
}

// logged is how many lines a pod's container "app" has logged, by kubectl.
func logged(t *testing.T, pod string) int {
	t.Helper()
	return len(strings.FieldsFunc(kubectl(t, "logs", "-n", logsNamespace(t), pod, "-c", "app"), func(r rune) bool { return r == '\n' }))
}

func TestLogsCommand(t *testing.T) {
	t.Parallel()
	running(t, "command", logger("command", "command", "-rate", "20"))
	before := logged(t, "command")
	got := kdiag(t, "logs", "-n", logsNamespace(t), "-l", "app=command", "-d", "100ms", "--drain-max", "100ms", "--",
		"sh", "-c", "echo out; echo err >&2; sleep 1; exit 5")
	if got.code != 5 || got.stdout != "out\n" || !strings.Contains(got.stderr, "err\n") {
		t.Fatalf("logs -- a command that exits with 5: %v", got)
	}

	for of, row := range counted(t, withoutNotes(strings.Replace(got.stderr, "err\n", "", 1))) {
		first := number(row[0])
		checkRow(t, of, row, first, first+len(row)-1)
		if first <= before || len(row) < 10 {
			t.Errorf("lines %s to %s, want those after %d, which were there before, for a second", row[0], row[len(row)-1], before)
		}
	}

	for script, want := range map[string]int{"exit 0": 0, "kill -TERM $$": 143, "kill -9 $$": 137} {
		if got := kdiag(t, "logs", "-n", logsNamespace(t), "command", "-q", "-d", "0", "--", "sh", "-c", script); got.code != want {
			t.Errorf("logs -- sh -c %q: code %d, want %d", script, got.code, want)
		}
	}
}

func TestLogsDrain(t *testing.T) {
	t.Parallel()
	// Half a second after the file was made, so well over 300 ms after the
	// command that made it has ended.
	script := "while :; do while ! [ -e /mark/go ]; do sleep 0.02; done; rm /mark/go; sleep 0.5; echo late; done"
	running(t, "drain", scripted("drain", "drain", script))
	touch := []string{"--", "kubectl", "exec", "-n", logsNamespace(t), "drain", "--", "sh", "-c", "echo >/mark/go"}
	cut := kdiag(t, append([]string{"logs", "-n", logsNamespace(t), "drain", "-d", "0"}, touch...)...)
	if cut.code != 0 || strings.Contains(cut.stderr, "late") {
		t.Errorf("logs -d 0: %v, want nothing that comes after the command", cut)
	}

	eventually(t, "the first line", func() bool { return logged(t, "drain") == 1 })
	whole := kdiag(t, append([]string{"logs", "-n", logsNamespace(t), "drain"}, touch...)...)
	if whole.code != 0 || whole.stderr != "drain app late\n" {
		t.Errorf("logs: %v, want the line that was logged 500 ms later, once", whole)
	}
}

func TestLogsFailOn(t *testing.T) {
	t.Parallel()
	running(t, "failon", scripted("failon", "failon", "echo old trouble; while :; do sleep 0.2; echo some trouble here; done"))
	eventually(t, "the old line", func() bool { return logged(t, "failon") > 0 })
	base := []string{"logs", "-n", logsNamespace(t), "failon", "-q", "-d", "100ms", "--drain-max", "1s"}
	got := kdiag(t, append(base, "--fail-on", "tro.ble", "--exclude", ".", "--", "sh", "-c", "sleep 1; echo out")...)
	if got.code != 3 || got.stdout != "out\n" || !strings.Contains(got.stderr, "failon app some trouble here") {
		t.Errorf("logs --fail-on: %v, want code 3 and the line", got)
	}

	got = kdiag(t, append(base, "--fail-on", "old", "--tail", "-1", "--", "sh", "-c", "sleep 1; exit 4")...)
	if got.code != 4 || !strings.Contains(got.stderr, "old trouble") {
		t.Errorf("logs --fail-on a line of before: %v, want the command's code and the line", got)
	}
	if got := kdiag(t, append(base, "--fail-on", "trouble")...); got.code != 3 {
		t.Errorf("logs --fail-on without a command: %v, want code 3", got)
	}
}

func TestLogsUntilFor(t *testing.T) {
	t.Parallel()
	running(t, "until", logger("until", "until", "-rate", "10"))
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
		args := append([]string{"logs", "-n", logsNamespace(t), "until", "-d", "0"}, strings.Fields(test.args)...)
		if got := kdiag(t, args...); got.code != test.want {
			t.Errorf("logs %s: %v, want code %d", test.args, got, test.want)
		}
	}
}

// TestLogsRestart: a pod that comes later, whose container restarts, and that
// is deleted: every line of both instances, to the last word.
func TestLogsRestart(t *testing.T) {
	t.Parallel()
	f := follow(t, "-l", "app=restart", "--until", " end$")
	f.has(t, "no pod of selector app=restart yet")
	running(t, "restart", logger("restart", "restart", "-rate", "200", "-exit-once", "100", "-mark", "/mark/once", "-count", "300"))
	f.has(t, " 300\n")
	kubectl(t, "delete", "pod", "-n", logsNamespace(t), "restart", "--wait=false")
	got := f.end(t)
	rows := counted(t, got.stdout)
	if got.code != 0 || len(rows) != 2 {
		t.Fatalf("%d instances, want 2: %v", len(rows), got)
	}

	for of, row := range rows {
		if last := len(row) - 1; row[last] == "end" {
			checkRow(t, of, row[:last], 1, 300)
		} else {
			checkRow(t, of, row, 1, 100)
		}
	}
}

func TestLogsCrashLoop(t *testing.T) {
	t.Parallel()
	f := follow(t, "-l", "app=crash", "--", "cat")
	f.has(t, "no pod of")
	apply(t, logsNamespace(t), logger("crash", "crash", "-rate", "1000", "-count", "50", "-exit"))
	var rows map[instance][]string
	eventually(t, "three instances", func() bool {
		_, lines, _ := strings.Cut(f.stderr.String(), "\n")
		whole := lines[:strings.LastIndex(lines, "\n")+1]
		rows = counted(t, whole)
		done := 0
		for _, row := range rows {
			if row[len(row)-1] == "50" {
				done++
			}
		}
		return done == 3
	})

	_, lines, _ := strings.Cut(f.end(t).stderr, "\n")
	for of, row := range counted(t, lines) {
		checkRow(t, of, row, 1, 50)
	}
}

// TestLogsMaxStreams: ten pods share three streams.
func TestLogsMaxStreams(t *testing.T) {
	t.Parallel()
	const most = 400
	f := follow(t, "-l", "app=streams", "--max-streams", "3", "--", "cat")
	f.has(t, "no pod of")
	var manifest strings.Builder
	for n := range 10 {
		manifest.WriteString(logger(fmt.Sprintf("streams-%d", n), "streams", "-rate", "100", "-count", strconv.Itoa(most)))
	}

	apply(t, logsNamespace(t), manifest.String())
	f.has(t, "note: more logs than --max-streams 3")
	eventually(t, "the last line of all ten", func() bool { return strings.Count(f.stderr.String(), " 400\n") == 10 })
	got := f.end(t)
	rows := counted(t, withoutNotes(got.stderr))
	if got.code != 0 || len(rows) != 10 {
		t.Errorf("code %d and %d pods, want 0 and 10", got.code, len(rows))
	}

	for of, row := range rows {
		checkRow(t, of, row, 1, most)
	}
}

func withoutNotes(text string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(text, "\n"),
		func(s string) bool { return strings.HasPrefix(s, "note: ") }), "")
}

// TestLogsConnectionKilled: the connections to the API server break, several
// times, while lines come.
func TestLogsConnectionKilled(t *testing.T) {
	t.Parallel()
	var manifest strings.Builder
	for n := range 3 {
		manifest.WriteString(logger(fmt.Sprintf("killed-%d", n), "killed", "-rate", "200"))
	}

	running(t, "killed", manifest.String())
	proxy, through := newProxy(t)
	f := follow(t, append(through, "-l", "app=killed", "--", "cat")...)
	eventually(t, "lines", func() bool { return strings.Count(f.stderr.String(), "\n") > 100 })
	for range 4 {
		before := strings.Count(f.stderr.String(), "\n")
		proxy.drop()
		eventually(t, "lines after a cut", func() bool { return strings.Count(f.stderr.String(), "\n") > before+500 })
	}

	got := f.end(t)
	rows := counted(t, withoutNotes(got.stderr))
	if got.code != 0 || len(rows) != 3 {
		t.Errorf("code %d and %d pods, want 0 and 3", got.code, len(rows))
	}

	for of, row := range rows {
		checkRow(t, of, row, number(row[0]), number(row[0])+len(row)-1)
	}

	if dropped := proxy.dropped.Load(); dropped < 4 {
		t.Errorf("%d connections were cut, want 4 at least", dropped)
	}
}
