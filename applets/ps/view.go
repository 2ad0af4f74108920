package ps

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// view shows one document after another.
type view struct {
	options
	out, err io.Writer
	// size returns the size of the terminal that out writes to; ok is false if
	// there is none.
	size  func() (columns, lines int, ok bool)
	count int
	notes []string // the last ones printed
}

func (o options) newView(streams applets.Streams) *view {
	return &view{
		options: o, out: streams.Out, err: streams.Err,
		size: func() (int, int, bool) { return applets.TerminalSize(streams.Out) },
	}
}

// hasShown reports whether any document was shown.
func (v *view) hasShown() bool { return v.count > 0 }

// showDocument shows a document and its notes. With --watch on a terminal, it
// replaces the previous document and shows the notes below. Otherwise new notes go
// to stderr.
func (v *view) showDocument(d document, notes []string) error {
	v.count++
	columns, lines, terminal := v.size()
	if v.watch && terminal && v.output != "json" {
		_, err := io.WriteString(v.out, v.redrawSequence(v.formatFrame(d, notes), columns, lines))
		return err
	}

	if !slices.Equal(notes, v.notes) {
		v.notes = notes
		for _, note := range notes {
			applets.Note(v.err, "%s", note)
		}
	}

	if v.output == "json" {
		return v.writeJSON(d)
	}

	var text strings.Builder
	if v.watch && v.count > 1 {
		fmt.Fprintln(&text)
	}
	if v.watch {
		fmt.Fprintln(&text, formatHeading(d))
	}
	if !terminal || v.output == "wide" {
		columns = 0
	}

	writeTables(&text, d, v.output == "wide", columns)

	_, err := io.WriteString(v.out, text.String())
	return err
}

// writeJSON writes one document: on one line with --watch, else indented.
func (v *view) writeJSON(d document) error {
	indent := "  "
	if v.watch {
		indent = ""
	}
	return applets.WriteJSON(v.out, d, indent)
}

func formatHeading(d document) string {
	return wire.Printable(fmt.Sprintf("%s  pod %s/%s, container %s", d.Time.Local().Format(time.DateTime), d.Namespace, d.Pod, d.Container))
}

// formatFrame formats a full screen, before it is cut to the terminal's size.
func (v *view) formatFrame(d document, notes []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s; every %s, press Ctrl-C to stop\n\n", formatHeading(d), v.interval)
	writeTables(&text, d, v.output == "wide", 0)
	for _, note := range notes {
		applets.Note(&text, "%s", note)
	}
	return text.String()
}

// Control sequences of ECMA-48: CUP to the corner, EL and ED to the end.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearRest = "\x1b[J"
)

// redrawSequence returns the text that replaces the previous frame by a new one
// without clearing the screen, which would flicker. Lines that do not fit are
// counted on the last line.
func (v *view) redrawSequence(frame string, columns, lines int) string {
	rows := strings.Split(strings.TrimSuffix(clipLines(frame, columns), "\n"), "\n")

	// The cursor stays on the last line.
	if most := max(lines-1, 1); len(rows) > most {
		left := len(rows) - most + 1
		rows = append(rows[:most-1], clipLines(fmt.Sprintf("… %d more lines", left), columns))
	}

	start := home
	if v.count == 1 {
		start = home + clearRest
	}

	return start + strings.Join(rows, clearLine+"\n") + clearLine + "\n" + clearRest
}

// leaveCursorBelow moves the terminal's cursor to a line of its own, below the echo
// of Ctrl-C.
func (v *view) leaveCursorBelow() {
	if _, _, terminal := v.size(); v.watch && terminal && v.output != "json" && v.hasShown() {
		fmt.Fprintln(v.out)
	}
}

// clipLines cuts the lines of a text at columns, unless that is 0.
func clipLines(text string, columns int) string {
	if columns == 0 {
		return text
	}

	var out strings.Builder
	for line := range strings.Lines(text) {
		body := strings.TrimSuffix(line, "\n")
		if runes := []rune(body); len(runes) > columns {
			body = string(runes[:columns-1]) + "…"
		}
		out.WriteString(body)
		if strings.HasSuffix(line, "\n") {
			out.WriteByte('\n')
		}
	}

	return out.String()
}
