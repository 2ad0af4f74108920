//go:build bench

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestSpeedLink measures every row of the table of docs/performance.md, prints it
// and writes it as JSON. A slow machine fails no test: a row that does not reach
// its goal only says so. The environment chooses:
//
//	KDIAG_BENCH           a regular expression for the rows to measure
//	KDIAG_BENCH_ROUNDS    how often each is measured, 5
//	KDIAG_BENCH_JSON      the file for the results, bin/bench.json; rows that are
//	                      not measured stay in it
//	KDIAG_BENCH_MARKDOWN  a page whose tables to bring up to date
func TestSpeedLink(t *testing.T) {
	report := readReport(t, pathFromEnv("KDIAG_BENCH_JSON", "bin/bench.json"))
	rows := chooseRows(t)
	for len(rows) > 0 {
		// A row that needs a fresh pod is alone; others share the paths of their route.
		group := slices.DeleteFunc(slices.Clone(rows), func(r speedRow) bool { return !sharesPaths(r, rows[0]) })
		if rows[0].needsFreshPod {
			group = rows[:1]
		}

		t.Run(fmt.Sprintf("%d_ms", group[0].route.roundTrip.Milliseconds()), func(t *testing.T) {
			paths := openSpeedPaths(t, createSpeedPods(t), group[0].route)
			for _, row := range group {
				report.add(measureRow(t, row, paths))
				report.write(t)
			}
		})

		rows = slices.DeleteFunc(slices.Clone(rows), func(r speedRow) bool { return isIn(group, r) })
	}

	fmt.Print(report.markdown())
	if page := pathFromEnv("KDIAG_BENCH_MARKDOWN", ""); page != "" {
		report.updatePage(t, page)
	}
}

// sharesPaths tells whether two rows can be measured over the same paths.
func sharesPaths(a, b speedRow) bool {
	return a.route == b.route && !a.needsFreshPod && !b.needsFreshPod
}

// isIn tells whether a row is one of some.
func isIn(rows []speedRow, row speedRow) bool {
	return slices.ContainsFunc(rows, func(r speedRow) bool { return r.name == row.name })
}

// chooseRows returns the rows that the environment chooses.
func chooseRows(t *testing.T) []speedRow {
	t.Helper()
	chosen, err := regexp.Compile(os.Getenv("KDIAG_BENCH"))
	if err != nil {
		t.Fatal(err)
	}

	rows := slices.DeleteFunc(listSpeedRows(), func(r speedRow) bool { return !chosen.MatchString(r.name) })
	if len(rows) == 0 {
		t.Fatalf("KDIAG_BENCH=%s: no such row", chosen)
	}
	return rows
}

// pathFromEnv returns the path that a variable names, from the project's root.
func pathFromEnv(key, otherwise string) string {
	path := os.Getenv(key)
	if path == "" {
		path = otherwise
	}
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return kit.RootPath(path)
}

// countRounds returns how often each row is measured.
func countRounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KDIAG_BENCH_ROUNDS")
	if text == "" {
		return 5
	}

	rounds, err := strconv.Atoi(text)
	if err != nil || rounds < 1 {
		t.Fatalf("KDIAG_BENCH_ROUNDS=%s: want a number from 1", text)
	}
	return rounds
}

// measureRow measures a row round by round. The one that comes first in a round
// comes second in the next.
func measureRow(t *testing.T, row speedRow, paths *speedPaths) *speedResult {
	began := time.Now()
	rounds := countRounds(t)
	if row.needsFreshPod {
		rounds = 1
	}

	result := newSpeedResult(row)
	cpu := startCPUCount(t, paths)
	for round := range rounds {
		kdiagFirst := round%2 == 0
		if kdiagFirst {
			result.KdiagRounds = append(result.KdiagRounds, row.kdiag(t, paths))
		}
		if row.other != nil && (round == 0 || !row.otherOnce) {
			result.OtherRounds = append(result.OtherRounds, row.other(t, paths))
		}
		if !kdiagFirst {
			result.KdiagRounds = append(result.KdiagRounds, row.kdiag(t, paths))
		}
	}

	if row.countsCPU {
		cpu.finish(t, paths, result)
	}
	result.conclude(row.goal)
	fmt.Printf("%-70s %8s %8s  %s\n", row.name, formatValue(result.Kdiag), formatValue(result.Other), time.Since(began).Round(100*time.Millisecond))
	return result
}

// cpuCount carries what the processes had used, and moved, before a row.
type cpuCount struct{ laptop, manager, plain, kdiagMoved, plainMoved float64 }

// startCPUCount begins to count the CPU time of a row.
func startCPUCount(t *testing.T, paths *speedPaths) cpuCount {
	t.Helper()
	return cpuCount{
		laptop:     kit.ReadCPUTime(t, paths.kdiag.laptop).Seconds(),
		manager:    kit.ReadCPUTime(t, paths.kdiag.manager).Seconds(),
		plain:      kit.ReadCPUTime(t, paths.plain.laptop).Seconds(),
		kdiagMoved: float64(paths.kdiag.moved.Load()) / (1 << 30),
		plainMoved: float64(paths.plain.moved.Load()) / (1 << 30),
	}
}

// finish notes the CPU time for each GiB in a result, if enough bytes were moved
// to tell: the kernel counts in steps of 10 ms.
func (c cpuCount) finish(t *testing.T, paths *speedPaths, result *speedResult) {
	t.Helper()
	const enough = 0.05
	now := startCPUCount(t, paths)
	if moved := now.kdiagMoved - c.kdiagMoved; moved > enough {
		result.LaptopCPU, result.ManagerCPU = (now.laptop-c.laptop)/moved, (now.manager-c.manager)/moved
	}
	if moved := now.plainMoved - c.plainMoved; moved > enough {
		result.PlainCPU = (now.plain - c.plain) / moved
	}
}
