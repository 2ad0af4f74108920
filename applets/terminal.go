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
