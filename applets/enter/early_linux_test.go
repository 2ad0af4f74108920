package enter

import (
	"slices"
	"testing"
)

// TestEnterWords starts early with what the laptop starts, and with nothing else.
func TestEnterWords(t *testing.T) {
	for _, c := range []struct {
		argv, want []string
		early      bool
	}{
		{[]string{"/kdiag", "enter", "--lifeline"}, []string{"--lifeline"}, true},
		{[]string{"/kdiag", "enter"}, nil, true},
		{[]string{"/kdiag", "enter", "--help"}, nil, false},
		{[]string{"/kdiag", "manager", "enter"}, nil, false},
		{[]string{"/usr/bin/kdiag", "enter"}, nil, false},
		{[]string{"kubectl-kdiag", "shell", "enter"}, nil, false},
		{[]string{"/kdiag"}, nil, false},
		{nil, nil, false},
	} {
		if words, early := enterWords(c.argv); early != c.early || !slices.Equal(words, c.want) {
			t.Errorf("enterWords(%q) = %q, %t, want %q, %t", c.argv, words, early, c.want, c.early)
		}
	}
}
