package containers

import (
	"strings"
	"testing"
)

// TestErrorText keeps a bounded beginning, and finds kdiag's own error and hint among other lines.
func TestErrorText(t *testing.T) {
	var said ErrorText
	for _, part := range []string{"noise\nkdia", "g: no such file\nhint: look", " elsewhere\nmore\n"} {
		if n, err := said.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write(%q) = %d, %v", part, n, err)
		}
	}
	if text, hint := said.Said(); text != "no such file" || hint != "look elsewhere" {
		t.Errorf("Said = %q, %q", text, hint)
	}

	long := strings.Repeat("x", 2*maxErrorText)
	if n, err := said.Write([]byte(long)); n != len(long) || err != nil || len(said.String()) != maxErrorText {
		t.Errorf("Write = %d, %v, and %d bytes are kept, want %d", n, err, len(said.String()), maxErrorText)
	}
	if text, hint := new(ErrorText).Said(); text != "" || hint != "" {
		t.Errorf("Said = %q, %q, want nothing", text, hint)
	}
}
