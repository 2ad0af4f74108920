package statusline

import (
	"strings"
	"testing"
)

// TestShowIsPrintable has what a kubelet says move nothing on the terminal.
func TestShowIsPrintable(t *testing.T) {
	var out strings.Builder
	line := &Line{out: &out}
	line.Show("pulling\x1b[2J\x1b]0;x\x07\u009b\n\u202eimage")
	if got, want := out.String(), eraseLine+"pulling�[2J�]0;x�� �image"; got != want {
		t.Errorf("Show writes %q, want %q", got, want)
	}

	out.Reset()
	line.Show(strings.Repeat("\x1b", 200))
	if got, want := out.String(), eraseLine+strings.Repeat("�", 76)+"…"; got != want {
		t.Errorf("Show of a long text writes %q, want %q", got, want)
	}
}
