package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestLogsRestart follows a pod that comes later, restarts, and is deleted: every
// line of both instances, to the last word.
func TestLogsRestart(t *testing.T) {
	t.Parallel()
	logs := kit.StartLogs(t, "-l", "app=restart", "--until", " end$")
	logs.WaitForOutput("no pods to follow yet for selector app=restart")
	kit.StartLoggers(t, "restart", kit.LoggerManifest("restart", "restart", "-rate", "200", "-exit-once", "100", "-mark", "/mark/once", "-count", "300"))
	logs.WaitForOutput(" 300\n")
	kit.RunKubectl(t, "delete", "pod", "-n", kit.LogsNamespace(t), "restart", "--wait=false")

	got := logs.CloseStdin()
	rows := kit.GroupLines(t, got.Stdout)
	if got.Code != 0 || len(rows) != 2 {
		t.Fatalf("%d instances, want 2: %v", len(rows), got)
	}

	for run, lines := range rows {
		if last := len(lines) - 1; lines[last] == "end" {
			kit.VerifyNumbers(t, run, lines[:last], 1, 300)
		} else {
			kit.VerifyNumbers(t, run, lines, 1, 100)
		}
	}
}

// TestLogsCrashLoop follows a container that ends again and again.
func TestLogsCrashLoop(t *testing.T) {
	t.Parallel()
	logs := kit.StartLogs(t, "-l", "app=crash", "--", "cat")
	logs.WaitForOutput("no pods to follow yet for")
	kit.ApplyManifest(t, kit.LogsNamespace(t), kit.LoggerManifest("crash", "crash", "-rate", "1000", "-count", "50", "-exit"))
	kit.WaitUntil(t, "three instances to end", func() bool { return strings.Count(logs.Stderr.String(), " 50\n") == 3 })

	for run, lines := range kit.GroupLines(t, kit.DropNotes(logs.CloseStdin().Stderr)) {
		kit.VerifyNumbers(t, run, lines, 1, 50)
	}
}

// TestLogsMaxStreams follows ten pods with three streams.
func TestLogsMaxStreams(t *testing.T) {
	t.Parallel()
	const most = 400
	logs := kit.StartLogs(t, "-l", "app=streams", "--max-streams", "3", "--", "cat")
	logs.WaitForOutput("no pods to follow yet for")

	var manifest strings.Builder
	for n := range 10 {
		manifest.WriteString(kit.LoggerManifest(fmt.Sprintf("streams-%d", n), "streams", "-rate", "100", "-count", strconv.Itoa(most)))
	}

	kit.ApplyManifest(t, kit.LogsNamespace(t), manifest.String())
	logs.WaitForOutput("logs to follow, but --max-streams is 3")
	kit.WaitUntil(t, "the last line of all ten", func() bool { return strings.Count(logs.Stderr.String(), " 400\n") == 10 })
	got := logs.CloseStdin()
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != 10 {
		t.Errorf("code %d and %d pods, want 0 and 10", got.Code, len(rows))
	}

	for run, lines := range rows {
		kit.VerifyNumbers(t, run, lines, 1, most)
	}
}

// TestLogsConnectionKilled loses no line and repeats none while the connections to
// the API server break several times.
func TestLogsConnectionKilled(t *testing.T) {
	t.Parallel()
	var manifest strings.Builder
	for n := range 3 {
		manifest.WriteString(kit.LoggerManifest(fmt.Sprintf("killed-%d", n), "killed", "-rate", "200"))
	}

	kit.StartLoggers(t, "killed", manifest.String())
	proxy, through := kit.StartProxy(t)
	logs := kit.StartLogs(t, append(through, "-l", "app=killed", "--", "cat")...)
	kit.WaitUntil(t, "lines", func() bool { return strings.Count(logs.Stderr.String(), "\n") > 100 })
	for range 4 {
		before := strings.Count(logs.Stderr.String(), "\n")
		proxy.DropConnections()
		kit.WaitUntil(t, "lines after a cut", func() bool { return strings.Count(logs.Stderr.String(), "\n") > before+500 })
	}

	got := logs.CloseStdin()
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != 3 {
		t.Errorf("code %d and %d pods, want 0 and 3", got.Code, len(rows))
	}

	for run, lines := range rows {
		kit.VerifyNoGaps(t, run, lines)
	}

	if dropped := proxy.Dropped.Load(); dropped < 4 {
		t.Errorf("%d connections were cut, want 4 at least", dropped)
	}
}

// TestLogsLoad follows 50 pods that log 100 lines a second each for 30 s, while one
// is deleted and one restarts: every line once, in order, none torn.
func TestLogsLoad(t *testing.T) {
	const pods, most = 50, 3000
	namespace := kit.LogsNamespace(t)
	logs := kit.StartLogs(t, "-l", "app=load", "--", "cat")
	logs.WaitForOutput("no pods to follow yet for")

	var manifest strings.Builder
	for n := range pods {
		args := []string{"-rate", "100", "-count", strconv.Itoa(most)}
		if n == 0 {
			// It ends after ten seconds, and starts again.
			args = append(args, "-exit-once", "1000", "-mark", "/mark/once")
		}
		manifest.WriteString(kit.LoggerManifest(fmt.Sprintf("load-%d", n), "load", args...))
	}

	kit.ApplyManifest(t, namespace, manifest.String())
	logs.WaitForOutput("load-1 app ")
	kit.WaitUntil(t, "a pod in the midst of it", func() bool { return strings.Contains(logs.Stderr.String(), " 1500\n") })
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "load-1", "--wait=false")
	kit.WaitUntil(t, "the last line of the others", func() bool {
		return strings.Count(logs.Stderr.String(), fmt.Sprintf(" %d\n", most)) == pods-1
	})

	got := logs.CloseStdin()
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != pods+1 {
		t.Errorf("code %d and %d instances, want 0 and %d", got.Code, len(rows), pods+1)
	}

	total := 0
	for run, lines := range rows {
		total += len(lines)
		last := len(lines) - 1
		switch {
		case run.Pod == "load-1" && lines[last] == "end":
			kit.VerifyNumbers(t, run, lines[:last], 1, last)
		case run.Pod == "load-0" && len(lines) == 1000:
			kit.VerifyNumbers(t, run, lines, 1, 1000)
		default:
			kit.VerifyNumbers(t, run, lines, 1, most)
		}
	}

	t.Logf("%d lines of %d instances", total, len(rows))
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "-l", "app=load", "--wait=false")
}
