//go:build unix

package applets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/creack/pty"
)

func TestWantsColour(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	for _, c := range []struct {
		name        string
		out         *os.File
		no, variant string
		want        bool
	}{
		{"a terminal", terminal, "", "xterm", true},
		{"a file", file, "", "xterm", false},
		{"NO_COLOR", terminal, "1", "xterm", false},
		{"a terminal without colours", terminal, "", "dumb", false},
	} {
		t.Setenv("NO_COLOR", c.no)
		t.Setenv("TERM", c.variant)
		if got := WantsColour(c.out); got != c.want {
			t.Errorf("WantsColour(%s) = %t, want %t", c.name, got, c.want)
		}
	}
}
