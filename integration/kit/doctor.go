package kit

import (
	"encoding/json"
	"strings"
	"testing"
)

// DoctorCheck carries a check as "doctor -o json" prints it.
type DoctorCheck struct{ Name, Status, Detail, Hint string }

// DoctorReport carries the checks of "doctor -o json", by name, and how it ended.
type DoctorReport struct {
	Result
	Checks map[string]DoctorCheck
}

// RunDoctor runs "doctor -o json" and decodes what it prints.
func RunDoctor(t *testing.T, args ...string) DoctorReport {
	t.Helper()
	got := RunKdiag(t, append([]string{"doctor", "-o", "json"}, args...)...)
	var document struct{ Checks []DoctorCheck }
	if err := json.Unmarshal([]byte(got.Stdout), &document); err != nil {
		t.Fatalf("doctor %q: %v: %v", args, err, got)
	}

	report := DoctorReport{got, map[string]DoctorCheck{}}
	for _, check := range document.Checks {
		report.Checks[check.Name] = check
	}

	return report
}

// Verify fails the test unless a check has this status, these words in its detail
// and these in its hint.
func (r DoctorReport) Verify(t *testing.T, name, status, detail, hint string) {
	t.Helper()
	got := r.Checks[name]
	if got.Status != status || !strings.Contains(got.Detail, detail) || !strings.Contains(got.Hint, hint) {
		t.Errorf("%s = %+v, want %s with %q and a hint with %q\nall: %v", name, got, status, detail, hint, r)
	}
}
