package logs

import (
	"io"
	"testing"
)

// TestColourOf holds the colours of two names, which are the same in every run
// and of every version; somebody knows a pod by them.
func TestColourOf(t *testing.T) {
	for pod, want := range map[string]string{"web-0": "92", "db-0": "34"} {
		if got := colourOf(pod); got != want {
			t.Errorf("colourOf(%q) = %s, want %s", pod, got, want)
		}
	}
}

func TestColouredByFlag(t *testing.T) {
	for when, want := range map[string]bool{"always": true, "never": false, "auto": false} {
		if got := coloured(when, io.Discard); got != want {
			t.Errorf("coloured(%q, no terminal) = %t, want %t", when, got, want)
		}
	}
}
