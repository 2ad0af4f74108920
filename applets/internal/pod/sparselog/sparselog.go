// Package sparselog keeps a log small, however often something is logged: a
// kubelet moves to a new file when one is full, and what stood in the old one
// can be read no more.
package sparselog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// first is how many lines of one kind are written as they come.
	first = 8
	// shortest and longest are how long the lines of a kind are counted, after
	// those. Each time is twice the one before.
	shortest = time.Minute
	longest  = time.Hour
	// maxKinds bounds the kinds that are told apart. The text of a line is its
	// kind, and stands in the code, so there are fewer.
	maxKinds = 64
	// maxValue bounds the text of an attribute, in bytes.
	maxValue = 256
)

// New makes a log of warnings and errors that writes text to w. Of many lines
// of one kind it writes the first, and after that, ever more seldom, the last
// one with the number of those it left out.
func New(w io.Writer) *slog.Logger {
	return slog.New(newHandler(w))
}

func newHandler(w io.Writer) *handler {
	text := slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: shorten})
	return &handler{Handler: text, kinds: &kinds{known: map[string]*kind{}}}
}

// shorten cuts long values off.
func shorten(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString, slog.KindAny:
		if text := fmt.Sprint(a.Value.Any()); len(text) > maxValue {
			return slog.String(a.Key, text[:maxValue]+"…")
		}
	}
	return a
}

// handler passes on what is to be written. All that come of it by With count
// together.
type handler struct {
	slog.Handler
	kinds *kinds
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.kinds}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.kinds}
}

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if h.kinds.count(record.Message, func(leftOut int) { h.summarize(record, leftOut) }) {
		return h.Handler.Handle(ctx, record)
	}
	return nil
}

// summarize writes the last line of a kind for all that were left out.
func (h *handler) summarize(last slog.Record, leftOut int) {
	record := slog.NewRecord(time.Now(), last.Level, last.Message, 0)
	last.Attrs(func(a slog.Attr) bool {
		record.AddAttrs(a)
		return true
	})
	record.AddAttrs(slog.Int("leftOut", leftOut))
	_ = h.Handler.Handle(context.Background(), record)
}

// kinds counts lines by their text.
type kinds struct {
	mu    sync.Mutex
	known map[string]*kind
}

// kind is what is known of the lines with one text.
type kind struct {
	written int
	seen    time.Time // the last line
	leftOut int
	wait    time.Duration     // before the next summary
	last    func(leftOut int) // writes it
	pending bool              // a timer will
}

// count reports whether a line is to be written. If not, summarize is called
// later, or that of a later line.
func (k *kinds) count(text string, summarize func(leftOut int)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.of(text)

	if now := time.Now(); now.Sub(own.seen) > longest && !own.pending {
		*own = kind{seen: now, wait: shortest} // it was quiet: this is something new
	} else {
		own.seen = now
	}

	if own.written < first {
		own.written++
		return true
	}

	own.leftOut++
	own.last = summarize
	if !own.pending {
		own.pending = true
		time.AfterFunc(own.wait, func() { k.summarize(own) })
		own.wait = min(2*own.wait, longest)
	}

	return false
}

// of is called with mu held.
func (k *kinds) of(text string) *kind {
	if own := k.known[text]; own != nil {
		return own
	}
	if len(k.known) >= maxKinds {
		text = ""
	}

	own := k.known[text]
	if own == nil {
		own = &kind{}
		k.known[text] = own
	}

	return own
}

// summarize writes the summary of a kind that is due.
func (k *kinds) summarize(own *kind) {
	k.mu.Lock()
	write, leftOut := own.last, own.leftOut
	own.last, own.leftOut, own.pending = nil, 0, false
	k.mu.Unlock()
	write(leftOut)
}
