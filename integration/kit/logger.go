package kit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// LoggerManifest returns the manifest of a pod that runs testdata/logger in a
// container "app", with the label app=LABEL.
func LoggerManifest(name, label string, args ...string) string {
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

// ScriptManifest returns the same manifest with a shell script in place of the
// logger.
func ScriptManifest(name, label, script string) string {
	quoted, _ := json.Marshal([]string{"sh", "-c", script})
	return strings.Replace(LoggerManifest(name, label), "    args: null\n", "    command: "+string(quoted)+"\n", 1)
}

// StartLoggers applies pods to the namespace of the logs, and waits until each of
// the label has started.
func StartLoggers(t *testing.T, label, manifest string) {
	t.Helper()
	namespace := LogsNamespace(t)
	ApplyManifest(t, namespace, manifest)
	haveStarted := WaitAtMost(patience, func() bool {
		started := RunKubectl(t, "get", "pods", "-n", namespace, "-l", "app="+label, "-o",
			`jsonpath={range .items[*]}[{.status.containerStatuses[0].started}]{end}`)
		return started != "" && strings.Count(started, "[true]") == strings.Count(started, "[")
	})
	if !haveStarted {
		t.Fatalf("still waiting for the pods of %s: %s", label, RunKubectl(t, "get", "pods", "-n", namespace, "-l", "app="+label, "-o",
			`jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.conditions[*].message} {.status.containerStatuses[*].state}{"\n"}{end}`))
	}
}

// CountLogged counts the lines that a pod's container "app" has logged, by
// kubectl.
func CountLogged(t *testing.T, pod string) int {
	t.Helper()
	text := RunKubectl(t, "logs", "-n", LogsNamespace(t), pod, "-c", "app")
	return len(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }))
}

// LastLogged returns the number of the last line that a pod's logger has logged, by
// kubectl. Unlike the number of lines, it does not go back when the log file is rotated.
func LastLogged(t *testing.T, pod string) int {
	t.Helper()
	last := 0
	WaitUntil(t, "a line of "+pod, func() bool {
		words := strings.Fields(RunKubectl(t, "logs", "-n", LogsNamespace(t), pod, "-c", "app", "--tail", "1"))
		if len(words) == 2 {
			last = ParseNumber(strings.TrimRight(words[1], "x"))
		}
		return last > 0
	})
	return last
}

// StartLogs starts "kdiag logs" in the namespace of the logs. Its stdin stays open
// until CloseStdin.
func StartLogs(t *testing.T, args ...string) *Process {
	t.Helper()
	p := newProcess(t, nil, BinaryPath(), append([]string{"logs", "-n", LogsNamespace(t)}, args...))
	p.openStdin()
	p.start()
	return p
}

// LoggerRun names a run of the logger: its pod, and what the run calls itself.
type LoggerRun struct{ Pod, ID string }

// GroupLines returns the lines of each run of a logger, in the order in which
// they came: their numbers, or "end".
func GroupLines(t *testing.T, text string) map[LoggerRun][]string {
	t.Helper()
	groups := map[LoggerRun][]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if !strings.HasSuffix(line, "\n") || len(words) != 4 {
			t.Errorf("line %q, want one of POD app INSTANCE NUMBER", line)
			continue
		}
		run := LoggerRun{words[0], words[2]}
		groups[run] = append(groups[run], words[3])
	}

	return groups
}

// VerifyNumbers fails the test unless the lines of a run have the numbers from
// first to last, each once and in order.
func VerifyNumbers(t *testing.T, run LoggerRun, lines []string, first, last int) {
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
		run.Pod, run.ID, len(lines), first, last, lines[at:min(at+5, len(lines))])
}

// VerifyNoGaps fails the test unless the numbers of a run's lines follow each
// other from wherever they begin.
func VerifyNoGaps(t *testing.T, run LoggerRun, lines []string) {
	t.Helper()
	first := ParseNumber(lines[0])
	VerifyNumbers(t, run, lines, first, first+len(lines)-1)
}

// ParseNumber parses the number of a line of the logger. Its last word has none,
// and gives 0.
func ParseNumber(line string) int {
	n, _ := strconv.Atoi(line)
	return n
}

// DropNotes returns what was printed without the lines that are kdiag's notes.
func DropNotes(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "note: ") }), "")
}
