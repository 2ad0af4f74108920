package kit

import (
	"strings"
	"testing"
)

// Failure describes what a command that fails must say: its exit code, and words
// in its lines.
type Failure struct {
	Words string // on the line "kdiag: …"
	Hint  string // on a line "hint: …"
	code  int
}

// ExpectFailure returns the failure with this exit code, these words in its error
// and these in its hint.
func ExpectFailure(code int, words, hint string) Failure { return Failure{words, hint, code} }

// Verify fails the test unless a command failed so.
func (f Failure) Verify(t *testing.T, what string, got Result) {
	t.Helper()
	line, hints, lines := "", "", 0
	for text := range strings.Lines(got.Stderr) {
		if strings.HasPrefix(text, "kdiag: ") {
			line, lines = text, lines+1
		}
		if strings.HasPrefix(text, "hint: ") {
			hints += text
		}
	}

	if got.Code != f.code || lines != 1 || !strings.Contains(line, f.Words) || !strings.Contains(hints, f.Hint) || got.Stdout != "" {
		t.Errorf("%s: %v\nwant code %d, one line with %q and a hint with %q", what, got, f.code, f.Words, f.Hint)
	}
}

// Escapes clears a terminal's screen and sets its title; the last two do it with
// one character of C1, and turn the direction of writing.
const Escapes = "\x1b[2J\x1b]0;x\x07\u009b2J\u202e"
