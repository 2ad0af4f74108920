package integration

import (
	"fmt"
	"kdiag/integration/kit"
	"strconv"
	"strings"
	"testing"
)

// TestLogsRestart: a pod that comes later, whose container restarts, and that
// is deleted: every line of both instances, to the last word.
func TestLogsRestart(t *testing.T) {
	t.Parallel()
	f := kit.StartLogs(t, "-l", "app=restart", "--until", " end$")
	f.WaitForOutput(t, "no pod of selector app=restart yet")
	kit.StartPods(t, "restart", kit.WriteLoggerPod("restart", "restart", "-rate", "200", "-exit-once", "100", "-mark", "/mark/once", "-count", "300"))
	f.WaitForOutput(t, " 300\n")
	kit.RunKubectl(t, "delete", "pod", "-n", kit.LogsNamespace(t), "restart", "--wait=false")
	got := f.CloseStdin(t)
	rows := kit.GroupLines(t, got.Stdout)
	if got.Code != 0 || len(rows) != 2 {
		t.Fatalf("%d instances, want 2: %v", len(rows), got)
	}

	for of, row := range rows {
		if last := len(row) - 1; row[last] == "end" {
			kit.VerifyLines(t, of, row[:last], 1, 300)
		} else {
			kit.VerifyLines(t, of, row, 1, 100)
		}
	}
}

func TestLogsCrashLoop(t *testing.T) {
	t.Parallel()
	f := kit.StartLogs(t, "-l", "app=crash", "--", "cat")
	f.WaitForOutput(t, "no pod of")
	kit.ApplyManifest(t, kit.LogsNamespace(t), kit.WriteLoggerPod("crash", "crash", "-rate", "1000", "-count", "50", "-exit"))
	var rows map[kit.LoggerRun][]string
	kit.WaitUntil(t, "three instances", func() bool {
		_, lines, _ := strings.Cut(f.Stderr.String(), "\n")
		whole := lines[:strings.LastIndex(lines, "\n")+1]
		rows = kit.GroupLines(t, whole)
		done := 0
		for _, row := range rows {
			if row[len(row)-1] == "50" {
				done++
			}
		}
		return done == 3
	})

	_, lines, _ := strings.Cut(f.CloseStdin(t).Stderr, "\n")
	for of, row := range kit.GroupLines(t, lines) {
		kit.VerifyLines(t, of, row, 1, 50)
	}
}

// TestLogsMaxStreams: ten pods share three streams.
func TestLogsMaxStreams(t *testing.T) {
	t.Parallel()
	const most = 400
	f := kit.StartLogs(t, "-l", "app=streams", "--max-streams", "3", "--", "cat")
	f.WaitForOutput(t, "no pod of")
	var manifest strings.Builder
	for n := range 10 {
		manifest.WriteString(kit.WriteLoggerPod(fmt.Sprintf("streams-%d", n), "streams", "-rate", "100", "-count", strconv.Itoa(most)))
	}

	kit.ApplyManifest(t, kit.LogsNamespace(t), manifest.String())
	f.WaitForOutput(t, "note: more logs than --max-streams 3")
	kit.WaitUntil(t, "the last line of all ten", func() bool { return strings.Count(f.Stderr.String(), " 400\n") == 10 })
	got := f.CloseStdin(t)
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != 10 {
		t.Errorf("code %d and %d pods, want 0 and 10", got.Code, len(rows))
	}

	for of, row := range rows {
		kit.VerifyLines(t, of, row, 1, most)
	}
}

// TestLogsConnectionKilled: the connections to the API server break, several
// times, while lines come.
func TestLogsConnectionKilled(t *testing.T) {
	t.Parallel()
	var manifest strings.Builder
	for n := range 3 {
		manifest.WriteString(kit.WriteLoggerPod(fmt.Sprintf("killed-%d", n), "killed", "-rate", "200"))
	}

	kit.StartPods(t, "killed", manifest.String())
	proxy, through := kit.StartProxy(t)
	f := kit.StartLogs(t, append(through, "-l", "app=killed", "--", "cat")...)
	kit.WaitUntil(t, "lines", func() bool { return strings.Count(f.Stderr.String(), "\n") > 100 })
	for range 4 {
		before := strings.Count(f.Stderr.String(), "\n")
		proxy.DropConnections()
		kit.WaitUntil(t, "lines after a cut", func() bool { return strings.Count(f.Stderr.String(), "\n") > before+500 })
	}

	got := f.CloseStdin(t)
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != 3 {
		t.Errorf("code %d and %d pods, want 0 and 3", got.Code, len(rows))
	}

	for of, row := range rows {
		kit.VerifyLines(t, of, row, kit.ParseNumber(row[0]), kit.ParseNumber(row[0])+len(row)-1)
	}

	if dropped := proxy.Dropped.Load(); dropped < 4 {
		t.Errorf("%d connections were cut, want 4 at least", dropped)
	}
}

// TestLogsLoad: 50 pods log 100 lines a second each for 30 s, while one is
// deleted and one restarts: every line once, in order, none torn.
func TestLogsLoad(t *testing.T) {
	const pods, most = 50, 3000
	namespace := kit.LogsNamespace(t)
	f := kit.StartLogs(t, "-l", "app=load", "--", "cat")
	f.WaitForOutput(t, "no pod of")
	var manifest strings.Builder
	for n := range pods {
		args := []string{"-rate", "100", "-count", strconv.Itoa(most)}
		if n == 0 {
			// It ends after ten seconds, and begins anew.
			args = append(args, "-exit-once", "1000", "-mark", "/mark/once")
		}
		manifest.WriteString(kit.WriteLoggerPod(fmt.Sprintf("load-%d", n), "load", args...))
	}

	kit.ApplyManifest(t, namespace, manifest.String())
	f.WaitForOutput(t, "load-1 app ")
	kit.WaitUntil(t, "a pod in the midst of it", func() bool { return strings.Contains(f.Stderr.String(), " 1500\n") })
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "load-1", "--wait=false")
	kit.WaitUntil(t, "the last line of the others", func() bool {
		return strings.Count(f.Stderr.String(), fmt.Sprintf(" %d\n", most)) == pods-1
	})
	got := f.CloseStdin(t)
	rows := kit.GroupLines(t, kit.DropNotes(got.Stderr))
	if got.Code != 0 || len(rows) != pods+1 {
		t.Errorf("code %d and %d instances, want 0 and %d", got.Code, len(rows), pods+1)
	}

	lines := 0
	for of, row := range rows {
		lines += len(row)
		last := len(row) - 1
		switch {
		case of.Pod == "load-1" && row[last] == "end":
			kit.VerifyLines(t, of, row[:last], 1, last)
		case of.Pod == "load-0" && len(row) == 1000:
			kit.VerifyLines(t, of, row, 1, 1000)
		default:
			kit.VerifyLines(t, of, row, 1, most)
		}
	}

	t.Logf("%d lines of %d instances", lines, len(rows))
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "-l", "app=load", "--wait=false")
}
