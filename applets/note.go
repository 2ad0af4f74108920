package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"kdiag/mux/wire"
)

// Note prints a line that the user may want to know, "note: …", in one Write.
// Whatever the text is made of comes out printable.
func Note(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "note: %s\n", wire.Printable(fmt.Sprintf(format, args...)))
}

// WriteJSON writes a value as one JSON document that programs read and that a
// terminal can show. Lines are indented by indent; with none it is one line.
func WriteJSON(w io.Writer, value any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(wire.PrintableJSON(text.Bytes()))
	return err
}
