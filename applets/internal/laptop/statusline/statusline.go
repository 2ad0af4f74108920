// Package statusline shows on one line of a terminal what is going on, and
// takes the line away again. On anything else it shows nothing.
package statusline

import (
	"fmt"
	"io"
	"sync"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// Line is the last line of a terminal. It is safe for concurrent use.
type Line struct {
	mu    sync.Mutex
	out   io.Writer
	text  string // shown now; empty for none
	ended bool
}

// New makes a Line that shows nothing yet.
func New(out io.Writer) *Line {
	return &Line{out: out, ended: !applets.IsTerminal(out)}
}

// eraseLine returns to the line's start and erases it (ECMA-48, EL).
const eraseLine = "\r\x1b[K"

// Show replaces the shown text with text, which it makes printable: it may quote
// the cluster or the pod.
func (l *Line) Show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()

	text = wire.Printable(text)
	// A line that wraps could not be erased.
	const limit = 76
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit]) + "…"
	}
	if l.ended || text == l.text {
		return
	}

	fmt.Fprint(l.out, eraseLine, text)
	l.text = text
}

// Above has write print whole lines where the line was, on the same terminal,
// and shows the line again below them.
func (l *Line) Above(write func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text != "" {
		fmt.Fprint(l.out, eraseLine)
	}
	write()
	if l.text != "" {
		fmt.Fprint(l.out, l.text)
	}
}

// Clear takes the line away until something is shown again.
func (l *Line) Clear() { l.Show("") }

// End takes the line away for good.
func (l *Line) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text != "" {
		fmt.Fprint(l.out, eraseLine)
	}
	l.text, l.ended = "", true
}

// WriterAbove returns a writer of whole lines to the same terminal, above the
// line.
func (l *Line) WriterAbove() io.Writer { return lineAbove{l} }

type lineAbove struct{ line *Line }

func (a lineAbove) Write(p []byte) (n int, err error) {
	a.line.Above(func() { n, err = a.line.out.Write(p) })
	return n, err
}
