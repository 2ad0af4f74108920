// Package sparselog keeps a log small, however often something is logged: once a log is full the
// kubelet starts a new file, and kubectl no longer shows the old one.
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
	// maxAtOnce is how many lines of one kind are written as they come.
	maxAtOnce = 8
	// shortestWait and longestWait bound the time for which further lines of a kind are only
	// counted. Each time is twice the one before.
	shortestWait = time.Minute
	longestWait  = time.Hour
	// maxKinds bounds the kinds that are told apart. The text of a line is its kind, and comes
	// from the code, so there are fewer.
	maxKinds = 64
	// maxValue bounds the text of an attribute, in bytes.
	maxValue = 256
)

// New makes a log of warnings and errors that writes text to w. Of many lines of one kind it
// writes the first ones, and then, ever less often, the last one with the number of lines that it
// left out.
func New(w io.Writer) *slog.Logger {
	return slog.New(newHandler(w))
}

// newHandler makes the handler of a log to w.
func newHandler(w io.Writer) *handler {
	text := slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: shortenValue})
	return &handler{Handler: text, kinds: &kinds{known: map[string]*kind{}}}
}

// shortenValue cuts a long value off, as slog.HandlerOptions.ReplaceAttr.
func shortenValue(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString, slog.KindAny:
		if text := fmt.Sprint(a.Value.Any()); len(text) > maxValue {
			return slog.String(a.Key, text[:maxValue]+"…")
		}
	}

	return a
}

// A handler passes on the lines that are to be written. Those that With derives from it count
// together with it.
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

// Handle writes a line now or counts it for a summary.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if h.kinds.countLine(record.Message, func(leftOut int) { h.writeSummary(record, leftOut) }) {
		return h.Handler.Handle(ctx, record)
	}

	return nil
}

// writeSummary writes the last line of a kind for all that were left out.
func (h *handler) writeSummary(last slog.Record, leftOut int) {
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

// kind counts the lines with one text.
type kind struct {
	written   int
	seen      time.Time // the last line
	leftOut   int
	wait      time.Duration     // before the next summary
	summarize func(leftOut int) // writes the summary, with the last line
	pending   bool              // a timer is set for that
}

// countLine reports whether a line is to be written. If not, summarize is called later, or that of
// a later line with the same text.
func (k *kinds) countLine(text string, summarize func(leftOut int)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	own := k.findKind(text)

	if now := time.Now(); now.Sub(own.seen) > longestWait && !own.pending {
		*own = kind{seen: now, wait: shortestWait} // after a long silence this is something new
	} else {
		own.seen = now
	}

	if own.written < maxAtOnce {
		own.written++
		return true
	}

	own.leftOut++
	own.summarize = summarize
	if !own.pending {
		own.pending = true
		time.AfterFunc(own.wait, func() { k.endWait(own) })
		own.wait = min(2*own.wait, longestWait)
	}

	return false
}

// findKind returns the kind of a text. All texts beyond maxKinds are of one kind. mu is held.
func (k *kinds) findKind(text string) *kind {
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

// endWait writes the summary of a kind whose time is over.
func (k *kinds) endWait(own *kind) {
	k.mu.Lock()
	summarize, leftOut := own.summarize, own.leftOut
	own.summarize, own.leftOut, own.pending = nil, 0, false
	k.mu.Unlock()

	summarize(leftOut)
}
