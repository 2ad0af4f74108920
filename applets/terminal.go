package applets

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether what is written to w shows on a terminal.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// WantsColour reports whether what is written to w may have colours: it shows on a
// terminal that has them, and nobody said no (https://no-color.org).
func WantsColour(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// TerminalSize is how many columns and lines the terminal has that w shows on;
// it is false where there is none.
func TerminalSize(w io.Writer) (columns, lines int, ok bool) {
	file, ok := w.(*os.File)
	if !ok {
		return 0, 0, false
	}
	columns, lines, err := term.GetSize(int(file.Fd()))
	return columns, lines, err == nil && columns > 0 && lines > 0
}
