package kit

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

// LogsNamespace is where every test of logs has its pods, each under a label
// of its own.
func LogsNamespace(t *testing.T) string {
	t.Helper()
	logsOnce.Do(func() { logsIn = CreateNamespace(t) })
	if logsIn == "" {
		t.Fatal("no namespace for the logs")
	}
	return logsIn
}

// WriteLoggerPod is the manifest of a pod that runs the logger in a container "app",
// with the label app=LABEL.
func WriteLoggerPod(name, label string, args ...string) string {
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

// WriteScriptPod is the same with a shell script in place of the logger.
func WriteScriptPod(name, label, script string) string {
	text := WriteLoggerPod(name, label)
	quoted, _ := json.Marshal([]string{"sh", "-c", script})
	return strings.Replace(text, "    args: null\n", "    command: "+string(quoted)+"\n", 1)
}

// StartPods applies pods and waits until each of the label has started.
func StartPods(t *testing.T, label, manifest string) {
	t.Helper()
	namespace := LogsNamespace(t)
	ApplyManifest(t, namespace, manifest)
	WaitUntil(t, "the pods of "+label, func() bool {
		started := RunKubectl(t, "get", "pods", "-n", namespace, "-l", "app="+label, "-o",
			`jsonpath={range .items[*]}[{.status.containerStatuses[0].started}]{end}`)
		return started != "" && strings.Count(started, "[true]") == strings.Count(started, "[")
	})
}

// LogsRun is a kdiag logs that runs in the background.
type LogsRun struct {
	cmd            *exec.Cmd
	stdin          io.Closer
	Stdout, Stderr *Output
}

// WaitForOutput waits until kdiag has printed something.
func (f *LogsRun) WaitForOutput(t *testing.T, what string) {
	t.Helper()
	WaitUntil(t, strconv.Quote(what), func() bool {
		return strings.Contains(f.Stdout.String()+f.Stderr.String(), what)
	})
}

// CloseStdin closes stdin, which ends a command such as cat, and waits for kdiag.
func (f *LogsRun) CloseStdin(t *testing.T) Result {
	t.Helper()
	_ = f.stdin.Close()
	err := f.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{f.Stdout.String(), f.Stderr.String(), f.cmd.ProcessState.ExitCode()}
}

// Output is what a process has written so far.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *Output) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *Output) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// StartLogs starts "kdiag logs" in the tests' namespace. Its stdin stays open
// until end.
func StartLogs(t *testing.T, args ...string) *LogsRun {
	t.Helper()
	f := &LogsRun{Stdout: &Output{}, Stderr: &Output{}}
	f.cmd = exec.CommandContext(t.Context(), BinaryPath(), append([]string{"logs", "-n", LogsNamespace(t)}, args...)...)
	f.cmd.Env = Environment()
	f.cmd.Stdout, f.cmd.Stderr = f.Stdout, f.Stderr
	var err error
	if f.stdin, err = f.cmd.StdinPipe(); err == nil {
		err = f.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}

	return f
}

// LoggerRun is a run of the logger: its pod and the instance it calls itself.
type LoggerRun struct{ Pod, ID string }

// GroupLines are the lines of each instance of a logger, in the order in which
// they came: their numbers, or "end".
func GroupLines(t *testing.T, text string) map[LoggerRun][]string {
	t.Helper()
	got := map[LoggerRun][]string{}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if !strings.HasSuffix(line, "\n") || len(words) != 4 {
			t.Errorf("line %q, want one of POD app INSTANCE NUMBER", line)
			continue
		}
		of := LoggerRun{words[0], words[2]}
		got[of] = append(got[of], words[3])
	}

	return got
}

// VerifyLines reports lines that are not there, or twice, or not in order.
func VerifyLines(t *testing.T, of LoggerRun, lines []string, first, last int) {
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
		of.Pod, of.ID, len(lines), first, last, lines[at:min(at+5, len(lines))])
}

// ParseNumber is the number of a line of the logger, 0 for its last word.
func ParseNumber(line string) int {
	n, _ := strconv.Atoi(line)
	return n
}

// CountLogged is how many lines a pod's container "app" has logged, by kubectl.
func CountLogged(t *testing.T, pod string) int {
	t.Helper()
	return len(strings.FieldsFunc(RunKubectl(t, "logs", "-n", LogsNamespace(t), pod, "-c", "app"), func(r rune) bool { return r == '\n' }))
}

func DropNotes(text string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(text, "\n"),
		func(s string) bool { return strings.HasPrefix(s, "note: ") }), "")
}
