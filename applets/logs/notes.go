package logs

import (
	"fmt"
	"io"
	"sync"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/mux/wire"
)

// notes prints messages that are not log lines to stderr, each one once.
type notes struct {
	out   io.Writer
	quiet bool
	line  *statusline.Line

	mu   sync.Mutex
	said map[string]bool
}

// mostNotes bounds how many different notes are printed and remembered.
const mostNotes = 1000

// addNote prints a note, unless it was printed before or the user wants none.
func (n *notes) addNote(format string, args ...any) {
	text := wire.OneLine(fmt.Sprintf(format, args...))
	n.mu.Lock()
	fresh := !n.quiet && !n.said[text] && len(n.said) < mostNotes
	if fresh {
		if n.said == nil {
			n.said = map[string]bool{}
		}
		n.said[text] = true
	}
	n.mu.Unlock()

	if fresh {
		n.line.Above(func() { applets.Note(n.out, "%s", text) })
	}
}

// printLine prints a line, even with --quiet.
func (n *notes) printLine(format string, args ...any) {
	text := wire.Printable(fmt.Sprintf(format, args...))
	n.line.Above(func() { fmt.Fprintln(n.out, text) })
}
