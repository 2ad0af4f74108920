package redir

import (
	"sync"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/statusline"
)

// A display shows a user what happens: events, notes, and the last line of a terminal.
type display struct {
	line     *statusline.Line
	counters *counterLine
	queue    *eventQueue
	terminal bool
	all      bool // lines name their pods

	mu       sync.Mutex
	progress string // of the last pod that gets its container
}

// newDisplay makes the display of a command.
func (o options) newDisplay(streams applets.Streams) *display {
	line := statusline.New(streams.Err)
	d := &display{line: line, counters: &counterLine{line: line}, terminal: applets.IsTerminal(streams.Err), all: o.all}
	d.queue = o.newQueue(streams.Out, line, d.counters.stop)
	return d
}

// note tells the user something that is no event.
func (d *display) note(text string) { applets.Note(d.line.WriterAbove(), "%s", text) }

// messages returns what takes the messages about a pod's container.
func (d *display) messages(t *track) containers.Messages {
	named := func(text string) string {
		if d.all {
			return t.name.Name + ": " + text
		}
		return text
	}
	note := func(text string) { d.note(named(text)) }
	return containers.Messages{Note: note, Notice: note, Progress: func(text string) { d.showProgress(named(text)) }}
}

// showProgress shows what is waited for: at once, or where the counters are shown, in their place
// while there is nothing to count.
func (d *display) showProgress(text string) {
	d.mu.Lock()
	d.progress = text
	d.mu.Unlock()
	if !d.counters.isShown() {
		d.line.Show(text)
	}
}

// clearProgress forgets what was waited for.
func (d *display) clearProgress() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = ""
}
