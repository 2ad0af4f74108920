package kit

import (
	"encoding/json"
	"strings"
	"testing"
)

// DoctorCheck is one of "doctor -o json".
type DoctorCheck struct{ Name, Status, Detail, Hint string }

// RunDoctor runs it, and returns the checks by name.
func RunDoctor(t *testing.T, args ...string) (map[string]DoctorCheck, Result) {
	t.Helper()
	got := RunKdiag(t, append([]string{"doctor", "-o", "json"}, args...)...)
	var document struct{ Checks []DoctorCheck }
	if err := json.Unmarshal([]byte(got.Stdout), &document); err != nil {
		t.Fatalf("doctor %q: %v: %v", args, err, got)
	}

	checks := map[string]DoctorCheck{}
	for _, c := range document.Checks {
		checks[c.Name] = c
	}

	return checks, got
}

// ExpectedCheck is what a check is to say.
type ExpectedCheck struct{ name, status, detail, hint string }

// Verify reports a check that came out otherwise.
func (w ExpectedCheck) Verify(t *testing.T, checks map[string]DoctorCheck, all Result) {
	t.Helper()
	got := checks[w.name]
	if got.Status != w.status || !strings.Contains(got.Detail, w.detail) || !strings.Contains(got.Hint, w.hint) {
		t.Errorf("%s = %+v, want %s with %q and a hint with %q\nall: %v", w.name, got, w.status, w.detail, w.hint, all)
	}
}

// ExpectCheck returns the outcome of a check of doctor's: its status, and words
// that its detail and its hint contain.
func ExpectCheck(name, status, detail, hint string) ExpectedCheck {
	return ExpectedCheck{name, status, detail, hint}
}
