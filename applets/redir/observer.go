package redir

import (
	"io"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/statusline"
)

// detail is how much is told of each connection.
type detail int

const (
	// detailConnections tells of each connection's end. It is the default.
	detailConnections detail = iota
	// detailRedirects leaves connections out, but for those that were refused.
	detailRedirects
	// detailAll tells of each connection's beginning, too.
	detailAll
)

// newQueue returns what prints the events to out, above the status line, which endLine ends before
// the last of them.
func (o options) newQueue(out io.Writer, line *statusline.Line, endLine func()) *eventQueue {
	queue := &eventQueue{now: time.Now}
	lines := &lineWriter{out: out, above: line.Above, now: queue.printedTime}
	if o.all {
		lines.pod = queue.printedPod
	}
	var p printer = textEvents{lines}
	if o.output == "json" {
		p = jsonEvents{lines}
	}

	queue.printer = lastWord{p, endLine}
	return queue
}

// filter leaves out what the user did not ask for.
type filter struct {
	redirectclient.Observer
	detail detail
}

func (f filter) ConnectionOpened(e redirectclient.Connection) {
	if f.detail == detailAll {
		f.Observer.ConnectionOpened(e)
	}
}

func (f filter) ConnectionClosed(e redirectclient.ConnectionClosed) {
	if f.detail != detailRedirects {
		f.Observer.ConnectionClosed(e)
	}
}

// lastWord ends the status line before the summary, below which nothing is shown.
type lastWord struct {
	printer
	endLine func()
}

func (l lastWord) Finished(e redirectclient.Summary) {
	l.endLine()
	l.printer.Finished(e)
}

// lineWriter writes one line after the other, above a terminal's status line.
type lineWriter struct {
	out   io.Writer
	above func(write func())
	now   func() time.Time
	// pod returns whose event a line tells, for the line to begin with; nil where it is always the
	// same.
	pod func() redirectclient.Pod
	mu  sync.Mutex
}

// podPrefix returns what a line begins with.
func (w *lineWriter) podPrefix() string {
	if w.pod == nil || w.pod().Name == "" {
		return ""
	}
	return w.pod().Name + ": "
}

func (w *lineWriter) writeLine(write func(out io.Writer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.above(func() { write(w.out) })
}
