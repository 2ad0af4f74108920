//go:build bench

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kdiag/integration/kit"
)

// speedReport carries the results of a run, and of earlier runs for the rows that
// it did not measure.
type speedReport struct {
	Machine speedMachine   `json:"machine"`
	Rows    []*speedResult `json:"rows"`

	path string
}

// speedMachine says where a run was.
type speedMachine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	Kubernetes string `json:"kubernetes"`
	ClientGo   string `json:"clientGo"`
}

// speedResult carries what was measured of a row. CPU is in seconds for each GiB of
// bulk streams, and 0 where it was not measured.
type speedResult struct {
	Row         string    `json:"row"`
	Unit        string    `json:"unit"`
	Kdiag       float64   `json:"kdiag"`
	Other       float64   `json:"other,omitempty"`
	OtherIs     string    `json:"otherIs,omitempty"`
	Ratio       float64   `json:"ratio,omitempty"`
	Goal        string    `json:"goal"`
	Reached     bool      `json:"reached"`
	KdiagRounds []float64 `json:"kdiagRounds"`
	OtherRounds []float64 `json:"otherRounds,omitempty"`
	LaptopCPU   float64   `json:"laptopCPU,omitempty"`
	ManagerCPU  float64   `json:"managerCPU,omitempty"`
	PlainCPU    float64   `json:"plainCPU,omitempty"`
	Date        time.Time `json:"date"`
	Commit      string    `json:"commit"`
}

// newSpeedResult returns the result of a row that is about to be measured.
func newSpeedResult(row speedRow) *speedResult {
	result := &speedResult{Row: row.name, Unit: row.unit, Goal: row.goal.String(), Date: time.Now().UTC().Truncate(time.Second), Commit: readCommit()}
	if row.other != nil {
		result.OtherIs = "plain"
		if row.otherIs != "" {
			result.OtherIs = row.otherIs
		}
	}
	return result
}

// conclude computes the medians, and whether the goal is reached.
func (r *speedResult) conclude(goal speedGoal) {
	r.Kdiag, r.Other = median(r.KdiagRounds), median(r.OtherRounds)
	if r.Other != 0 {
		r.Ratio = r.Kdiag / r.Other
	}
	r.Reached = goal.isReached(r.Kdiag, r.Ratio)
}

// median returns the median of values, and 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}

	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// readReport reads the report of earlier runs, if there is one, and says that it
// is of this machine.
func readReport(t *testing.T, path string) *speedReport {
	t.Helper()
	report := &speedReport{path: path}
	if text, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(text, report); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}

	report.Machine = readMachine(t)
	return report
}

// readMachine reads the facts of this machine and of the cluster.
func readMachine(t *testing.T) speedMachine {
	t.Helper()
	machine := speedMachine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	if found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(cpus); found != nil {
		machine.CPU = string(found[1])
	}

	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	machine.Kernel = strings.TrimSpace(string(kernel))

	modules, _ := os.ReadFile(kit.RootPath("go.mod"))
	if found := regexp.MustCompile(`k8s.io/client-go (\S+)`).FindSubmatch(modules); found != nil {
		machine.ClientGo = string(found[1])
	}

	machine.Kubernetes = kit.RunKubectl(t, "get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion} on {.items[0].status.nodeInfo.containerRuntimeVersion}")
	return machine
}

// readCommit reads which commit is measured.
func readCommit() string {
	out, err := exec.Command("git", "-C", kit.RootPath("."), "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// add adds a result, in place of an earlier one of the same row.
func (r *speedReport) add(result *speedResult) {
	r.Rows = slices.DeleteFunc(r.Rows, func(old *speedResult) bool { return old.Row == result.Row })
	r.Rows = append(r.Rows, result)
}

// write writes the report, in the order of the table. Rows that are no longer in
// the table go.
func (r *speedReport) write(t *testing.T) {
	t.Helper()
	var ordered []*speedResult
	for _, row := range listSpeedRows() {
		if at := slices.IndexFunc(r.Rows, func(have *speedResult) bool { return have.Row == row.name }); at >= 0 {
			ordered = append(ordered, r.Rows[at])
		}
	}

	r.Rows = ordered
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(r.path, append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// markdown shows the report as Markdown, in columns.
func (r *speedReport) markdown() string {
	results := [][]string{{"", "kdiag", "plain", "ratio", "goal", "reached"}}
	costs := [][]string{{"", "kdiag, laptop", "kdiag, manager", "plain, laptop"}}
	for _, row := range r.Rows {
		results = append(results, row.tableCells())
		if row.LaptopCPU > 0 || row.PlainCPU > 0 {
			costs = append(costs, []string{row.Row, formatValue(row.LaptopCPU), formatValue(row.ManagerCPU), formatValue(row.PlainCPU)})
		}
	}

	var page strings.Builder
	page.WriteString("\n" + r.describeRun() + "\n\n")
	writeTable(&page, results)
	page.WriteString("\nCPU seconds for each GiB that bulk streams moved:\n\n")
	writeTable(&page, costs)
	page.WriteString("\n")
	return page.String()
}

// tableCells returns the cells of a result.
func (r *speedResult) tableCells() []string {
	name := r.Row
	if r.OtherIs != "" && r.OtherIs != "plain" {
		name += " (beside " + r.OtherIs + ")"
	}

	ratio, reached := "–", "no"
	if r.Ratio != 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	if r.Reached {
		reached = "yes"
	}

	return []string{name + ", " + r.Unit, formatValue(r.Kdiag), formatValue(r.Other), ratio, r.Goal, reached}
}

// describeRun says on which machine, when, and by which command the rows were
// measured.
func (r *speedReport) describeRun() string {
	var commits, dates []string
	for _, row := range r.Rows {
		commits, dates = append(commits, row.Commit), append(dates, row.Date.Format(time.DateOnly))
	}

	slices.Sort(commits)
	slices.Sort(dates)
	m := r.Machine
	return fmt.Sprintf("%s, %d cores, Linux %s\nKubernetes %s, client-go %s, %s\n`make bench` of %s at %s",
		m.CPU, m.Cores, m.Kernel, m.Kubernetes, m.ClientGo, m.Go,
		strings.Join(slices.Compact(dates), ", "), strings.Join(slices.Compact(commits), ", "))
}

// formatValue shows a value with three digits, and nothing as a dash.
func formatValue(value float64) string {
	switch {
	case value == 0:
		return "–"
	case value >= 100 || value <= -100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10 || value <= -10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

// writeTable writes a table of Markdown whose columns are as wide as they must be.
// The first row is its head.
func writeTable(page *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}

	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(page, "| %s%s ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		page.WriteString("|\n")
		if n > 0 {
			continue
		}

		for _, width := range widths {
			page.WriteString("|" + strings.Repeat("-", width+2))
		}
		page.WriteString("|\n")
	}
}

// What stands around the tables in a page.
const (
	tablesBegin = "<!-- make bench writes from here -->\n"
	tablesEnd   = "<!-- to here -->"
)

// updatePage replaces the tables of a page.
func (r *speedReport) updatePage(t *testing.T, path string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	before, rest, begins := bytes.Cut(page, []byte(tablesBegin))
	_, after, ends := bytes.Cut(rest, []byte(tablesEnd))
	if !begins || !ends {
		t.Fatalf("%s: no tables to replace", path)
	}

	page = slices.Concat(before, []byte(tablesBegin), []byte(r.markdown()), []byte(tablesEnd), after)
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
}
