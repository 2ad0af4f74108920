package shell

import (
	"fmt"
	"io"
	"sync"

	"kdiag/applets"
)

// progress shows on one line of a terminal what is being waited for, and takes
// the line away again. On anything else it shows nothing.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	shown bool
	done  bool
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, done: !applets.IsTerminal(out)}
}

// eraseLine returns to the line's start and erases it (ECMA-48, EL).
const eraseLine = "\r\x1b[K"

func (p *progress) show(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return
	}
	// A line that wraps could not be erased.
	const most = 76
	if runes := []rune(what); len(runes) > most {
		what = string(runes[:most]) + "…"
	}
	fmt.Fprint(p.out, eraseLine, what)
	p.shown = true
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, eraseLine)
	}
	p.done = true
}
