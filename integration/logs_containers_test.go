package integration

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const manyContainers = `
apiVersion: v1
kind: Pod
metadata: {name: many, labels: {app: many}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: before, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1", "-exit"]}
  containers:
  - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
  - {name: second, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
---
apiVersion: v1
kind: Pod
metadata:
  name: annotated
  labels: {app: annotated}
  annotations: {kubectl.kubernetes.io/default-container: second}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
  - {name: second, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
---
apiVersion: v1
kind: Pod
metadata: {name: noimage, labels: {app: many}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:none", imagePullPolicy: Never}
`

// shownContainers are the containers of which a run showed lines, sorted.
func shownContainers(text string) string {
	var names []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 4 {
			names = append(names, words[0]+"/"+words[1])
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

func TestLogsContainers(t *testing.T) {
	t.Parallel()
	namespace := logsNamespace(t)
	apply(t, namespace, manyContainers)
	eventually(t, "the pod to be ready", func() bool {
		return kubectl(t, "get", "pod", "-n", namespace, "many", "-o", "jsonpath={.status.containerStatuses[*].ready}") == "true true"
	})
	kubectl(t, "debug", "-n", namespace, "many", "-q", "--image=localhost/kdiag-sample:logger", "--image-pull-policy=Never", "-c", "debug", "--", "/logger", "-count", "1")
	// One of kdiag's own, whose log is nobody's business.
	if got := kdiag(t, "shell", "-n", namespace, "many", "-q", "-c", "app", "--", "-c", "true"); got.code != 0 {
		t.Fatalf("shell: %v", got)
	}

	for args, want := range map[string]string{
		"many":                                "many/app many/before many/debug many/second",
		"many --init-containers=false":        "many/app many/debug many/second",
		"many --ephemeral-containers=false":   "many/app many/before many/second",
		"many --all-containers=false":         "many/app",
		"many -c second -c before":            "many/before many/second",
		"many:second annotated:app":           "annotated/app many/second",
		"-l app=many:debug -l app=annotated":  "annotated/second many/debug",
		"pod/annotated":                       "annotated/second",
		"annotated --all-containers":          "annotated/app annotated/second",
		"--pod annotated:app --pod many:app":  "annotated/app many/app",
		"-l app=many --include=NOTHING":       "",
		"annotated --all-containers --tail=0": "",
	} {
		eventually(t, args, func() bool {
			got := kdiag(t, append([]string{"logs", "-n", namespace, "--follow=false"}, strings.Fields(args)...)...)
			return got.code == 0 && shownContainers(got.stdout) == want
		})
	}

	// The pod whose image is not there stops nobody.
	got := kdiag(t, "logs", "-n", namespace, "-l", "app=many", "--tail=-1", "--for=2s")
	if got.code != 0 || shownContainers(got.stdout) != "many/app many/before many/debug many/second" {
		t.Errorf("logs with a pod that does not start: %v", got)
	}

	got = kdiag(t, "logs", "-n", namespace, "many", "-c", "no")
	if got.code != 1 || !strings.Contains(got.stderr, "hint: it has: before, app, second, ") {
		t.Errorf("logs -c no: %v, want the names there are", got)
	}
}

// TestLogsTorn: a container that writes half a line, waits, and then the rest;
// lines larger than a pipe, than a runtime's buffer and than kdiag's.
func TestLogsTorn(t *testing.T) {
	t.Parallel()
	f := follow(t, "-l", "app=torn", "--tail", "-1", "--until", "over")
	f.has(t, "no pod of")
	script := `printf 'half '; sleep 1; printf 'and '; sleep 1; echo half
x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do x=$x$x; done; echo $x
for i in 1 2 3 4; do x=$x$x; done; echo $x; echo over; sleep 1000`
	apply(t, logsNamespace(t), scripted("torn", "torn", script)+logger("torn-not", "torn", "-rate", "500"))
	got := f.end(t)
	var lengths []int
	for line := range strings.Lines(got.stdout) {
		if text, ok := strings.CutPrefix(line, "torn app "); ok {
			lengths = append(lengths, len(strings.TrimSuffix(text, "\n")))
		} else if len(strings.Fields(line)) != 4 || !strings.HasPrefix(line, "torn-not app ") {
			t.Errorf("a torn line: %.100q", line)
		}
	}

	if want := []int{len("half and half"), 16 << 13, 1 << 20, len("over")}; got.code != 0 || !slices.Equal(lengths, want) {
		t.Errorf("code %d, lines of %v bytes, want 0 and %v: %s", got.code, lengths, want, got.stderr)
	}
	if !strings.Contains(got.stderr, "note: torn/app logs lines of more than 1048576 bytes") {
		t.Errorf("stderr: %s, want a note on the line that was cut", got.stderr)
	}
}

func TestLogsFormats(t *testing.T) {
	t.Parallel()
	running(t, "formats", scripted("formats", "formats", `echo 'a "quoted" <line>'; echo noise; sleep 1000`))
	namespace := logsNamespace(t)
	eventually(t, "the lines", func() bool { return logged(t, "formats") == 2 })
	logs := func(args string) string {
		t.Helper()
		got := kdiag(t, append([]string{"logs", "-n", namespace, "formats", "--follow=false"}, strings.Fields(args)...)...)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("logs %s: %v", args, got)
		}
		return got.stdout
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

func TestLogsPrevious(t *testing.T) {
	t.Parallel()
	namespace := logsNamespace(t)
	running(t, "previous", logger("previous", "previous", "-rate", "100", "-exit-once", "7", "-mark", "/mark/once", "-count", "2"))
	eventually(t, "the restart", func() bool {
		return kubectl(t, "get", "pod", "-n", namespace, "previous", "-o", "jsonpath={.status.containerStatuses[0].restartCount}") == "1"
	})
	got := kdiag(t, "logs", "-n", namespace, "previous", "--previous")
	rows := counted(t, got.stdout)
	if got.code != 0 || len(rows) != 1 {
		t.Fatalf("logs --previous: %v", got)
	}

	for of, row := range rows {
		checkRow(t, of, row, 1, 7)
	}
}

// TestLogsFile: lines go to a file, and the command's output is whole.
func TestLogsFile(t *testing.T) {
	t.Parallel()
	running(t, "file", logger("file", "file", "-rate", "50"))
	file := t.TempDir() + "/log"
	got := kdiag(t, "logs", "-n", logsNamespace(t), "file", "--logs-to", file, "-d", "0", "--", "sh", "-c", "echo out; sleep 1; echo err >&2")
	if got.code != 0 || got.stdout != "out\n" || got.stderr != "err\n" {
		t.Errorf("logs --logs-to: %v, want the command's own output alone", got)
	}

	for of, row := range counted(t, readFile(t, file)) {
		checkRow(t, of, row, number(row[0]), number(row[0])+len(row)-1)
	}

	got = kdiag(t, "logs", "-n", logsNamespace(t), "file", "--logs-to", "/dev/full", "--for=20s")
	if got.code != 1 || !strings.Contains(got.stderr, "kdiag: write the logs: ") {
		t.Errorf("logs --logs-to a full disk: %v, want code 1", got)
	}
}

// TestLogsTerminal: Ctrl-C reaches the command; its exit code is kdiag's.
func TestLogsTerminal(t *testing.T) {
	t.Parallel()
	running(t, "terminal", logger("terminal", "terminal", "-rate", "5"))
	x := newTerminal(t)
	x.line("clear; " + shared.binary() + " logs -n " + logsNamespace(t) + ` terminal --drain-max 1s -- sh -c 'trap "echo caught $((1+2)); exit 7" INT; echo begun $((1+1)); while :; do sleep 0.1; done'; echo code $?`)
	x.await("begun 2")
	x.await("terminal app ")
	x.keys("C-c")
	x.await("caught 3")
	x.await("code 7")
	// What is on the screen from before has such lines, too.
	x.line("clear; echo begun $((2+2)); " + shared.binary() + " logs -n " + logsNamespace(t) + " terminal; echo code $?")
	x.await("begun 4")
	x.await("terminal app ")
	x.keys("C-c")
	x.await("code 130")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
