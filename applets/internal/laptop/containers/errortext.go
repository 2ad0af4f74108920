package containers

import (
	"strings"

	"kdiag/mux/wire"
)

// maxErrorText bounds what an ErrorText keeps, in bytes.
const maxErrorText = 4096

// ErrorText keeps the beginning of what a program prints to stderr. Its zero value is ready for use by
// one writer; it is read once that is done.
type ErrorText struct{ text []byte }

func (e *ErrorText) Write(p []byte) (int, error) {
	e.text = append(e.text, p[:min(len(p), maxErrorText-len(e.text))]...)
	return len(p), nil
}

func (e *ErrorText) String() string { return string(e.text) }

// Said returns the last error and the last hint that kdiag in the pod has printed, or "".
func (e *ErrorText) Said() (text, hint string) {
	for line := range strings.Lines(e.String()) {
		line = strings.TrimSpace(line)
		if said, ok := strings.CutPrefix(line, wire.ErrorPrefix); ok {
			text = said
		}
		if said, ok := strings.CutPrefix(line, wire.HintPrefix); ok {
			hint = said
		}
	}
	return text, hint
}
