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

// Show puts what in place of what was shown. It may quote anybody.
func (l *Line) Show(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what = wire.Printable(what)
	// A line that wraps could not be erased.
	const most = 76
	if runes := []rune(what); len(runes) > most {
		what = string(runes[:most]) + "…"
	}
	if l.ended || what == l.text {
		return
	}

	fmt.Fprint(l.out, eraseLine, what)
	l.text = what
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
