package applets

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether a stream, a reader or a writer, is a terminal.
func IsTerminal(stream any) bool {
	if writer, ok := stream.(io.Writer); ok {
		stream = Underlying(writer)
	}
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// WantsColour reports whether output to w may be coloured: w is a terminal that
// supports colours, and NO_COLOR is not set (https://no-color.org).
func WantsColour(w io.Writer) bool {
	return IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// TerminalSize returns the size of the terminal that w writes to. ok is false if w
// is no terminal.
func TerminalSize(w io.Writer) (columns, lines int, ok bool) {
	file, ok := Underlying(w).(*os.File)
	if !ok {
		return 0, 0, false
	}
	columns, lines, err := term.GetSize(int(file.Fd()))
	return columns, lines, err == nil && columns > 0 && lines > 0
}
