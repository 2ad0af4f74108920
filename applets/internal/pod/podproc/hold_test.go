package podproc

import (
	"testing"

	"kdiag/mux/wire"
)

// TestIsHold tells hold from other programs.
func TestIsHold(t *testing.T) {
	held := wire.HoldArguments{Deadline: 1, Command: []string{"app"}}
	for _, c := range []struct {
		words []string
		want  bool
	}{
		{append([]string{wire.CopyBinary}, held.Args()...), true},
		{append([]string{wire.Binary}, held.Args()...), true},
		{[]string{wire.CopyBinary, "enter"}, false}, {[]string{"/app", "hold"}, false}, {[]string{wire.CopyBinary}, false}, {nil, false},
	} {
		if got := IsHold(c.words); got != c.want {
			t.Errorf("IsHold(%q) = %t", c.words, got)
		}
	}
}
