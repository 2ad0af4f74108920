package logs

import (
	"fmt"
	"io"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/mux/wire"
)

// notes prints messages that are not log lines to stderr, each one once. Nobody but its
// own goroutine waits until they are written.
type notes struct {
	out   io.Writer
	quiet bool
	line  *statusline.Line
	queue chan func()

	mu   sync.Mutex
	said map[string]bool
}

// mostNotes bounds how many different notes are printed and remembered.
const mostNotes = 1000

// newNotes starts to print notes.
func newNotes(out io.Writer, quiet bool, line *statusline.Line) *notes {
	n := &notes{out: out, quiet: quiet, line: line, queue: make(chan func(), 2*mostNotes), said: map[string]bool{}}
	go func() {
		for write := range n.queue {
			write()
		}
	}()
	return n
}

// addNote prints a note, unless it was printed before or the user wants none.
func (n *notes) addNote(format string, args ...any) {
	text := wire.OneLine(fmt.Sprintf(format, args...))
	n.mu.Lock()
	fresh := !n.said[text] && len(n.said) < mostNotes
	if fresh {
		n.said[text] = true
	}
	n.mu.Unlock()

	if fresh {
		n.printNote(text)
	}
}

// printNote prints a note, even if it was printed before, unless the user wants none.
func (n *notes) printNote(text string) {
	if !n.quiet {
		n.enqueue(func() { applets.Note(n.out, "%s", text) })
	}
}

// printLine prints a line, even with --quiet.
func (n *notes) printLine(format string, args ...any) {
	text := wire.Printable(fmt.Sprintf(format, args...))
	n.enqueue(func() { fmt.Fprintln(n.out, text) })
}

// enqueue has something printed, or forgets it if too much waits already.
func (n *notes) enqueue(write func()) {
	select {
	case n.queue <- func() { n.line.Above(write) }:
	default:
	}
}

// noteWait bounds the wait for notes to be printed.
const noteWait = time.Second

// await waits until all notes are printed, but not for a stderr that nobody reads.
func (n *notes) await(most time.Duration) {
	printed := make(chan struct{})
	select {
	case n.queue <- func() { close(printed) }:
	default:
		return
	}

	select {
	case <-printed:
	case <-time.After(most):
	}
}
