package kube

import (
	"fmt"
	"strings"
	"testing"
)

func TestWarningWriter(t *testing.T) {
	var out strings.Builder
	w := &warningWriter{out: &out}
	for range 2 {
		w.HandleWarningHeader(299, "-", "careful\x1b[2J\n\u202ethere")
		w.HandleWarningHeader(199, "-", "not the API server's")
		w.HandleWarningHeader(299, "-", "")
	}

	if got, want := out.String(), "Warning: careful�[2J �there\n"; got != want {
		t.Errorf("warnings = %q, want %q", got, want)
	}

	for i := range 2 * maxWarnings {
		w.HandleWarningHeader(299, "-", fmt.Sprint(i))
	}

	if got := strings.Count(out.String(), "\n"); got != maxWarnings {
		t.Errorf("%d lines of warnings, want %d", got, maxWarnings)
	}
}
