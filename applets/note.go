package applets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"kdiag/mux/wire"
)

// Note prints "note: …" in a single Write. It makes the text printable, since it
// may quote the cluster or the pod.
func Note(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "note: %s\n", wire.Printable(fmt.Sprintf(format, args...)))
}

// PrintError prints an error and its hints. It makes them printable, since they quote the
// cluster, the pod and registries.
func PrintError(w io.Writer, err error) {
	fmt.Fprintf(w, "%s%s\n", wire.ErrorPrefix, wire.Printable(err.Error()))
	for _, hint := range Hints(err) {
		fmt.Fprintf(w, "%s%s\n", wire.HintPrefix, wire.Printable(hint))
	}
}

// WriteJSON writes value as one JSON document, escaped so that a terminal can show
// it. If indent is empty, the document takes one line.
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
