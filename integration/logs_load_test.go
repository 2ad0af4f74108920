package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestLogsLoad: 50 pods log 100 lines a second each for 30 s, while one is
// deleted and one restarts: every line once, in order, none torn.
func TestLogsLoad(t *testing.T) {
	const pods, most = 50, 3000
	namespace := logsNamespace(t)
	f := follow(t, "-l", "app=load", "--", "cat")
	f.has(t, "no pod of")
	var manifest strings.Builder
	for n := range pods {
		args := []string{"-rate", "100", "-count", strconv.Itoa(most)}
		if n == 0 {
			// It ends after ten seconds, and begins anew.
			args = append(args, "-exit-once", "1000", "-mark", "/mark/once")
		}
		manifest.WriteString(logger(fmt.Sprintf("load-%d", n), "load", args...))
	}

	apply(t, namespace, manifest.String())
	f.has(t, "load-1 app ")
	eventually(t, "a pod in the midst of it", func() bool { return strings.Contains(f.stderr.String(), " 1500\n") })
	kubectl(t, "delete", "pod", "-n", namespace, "load-1", "--wait=false")
	eventually(t, "the last line of the others", func() bool {
		return strings.Count(f.stderr.String(), fmt.Sprintf(" %d\n", most)) == pods-1
	})
	got := f.end(t)
	rows := counted(t, withoutNotes(got.stderr))
	if got.code != 0 || len(rows) != pods+1 {
		t.Errorf("code %d and %d instances, want 0 and %d", got.code, len(rows), pods+1)
	}

	lines := 0
	for of, row := range rows {
		lines += len(row)
		last := len(row) - 1
		switch {
		case of.pod == "load-1" && row[last] == "end":
			checkRow(t, of, row[:last], 1, last)
		case of.pod == "load-0" && len(row) == 1000:
			checkRow(t, of, row, 1, 1000)
		default:
			checkRow(t, of, row, 1, most)
		}
	}

	t.Logf("%d lines of %d instances", lines, len(rows))
	kubectl(t, "delete", "pod", "-n", namespace, "-l", "app=load", "--wait=false")
}
