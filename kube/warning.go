package kube

import (
	"fmt"
	"io"
	"sync"

	"kdiag/mux/wire"
)

// warningWriter prints the API server's warnings, each once.
type warningWriter struct {
	out io.Writer

	mu   sync.Mutex
	said map[string]bool
}

// maxWarnings bounds how many warnings are remembered, and printed.
const maxWarnings = 100

// HandleWarningHeader is called by client-go with each warning of an answer. A
// code other than 299 is not the API server's (rest.WarningHandler).
func (w *warningWriter) HandleWarningHeader(code int, _, text string) {
	if code != 299 || text == "" {
		return
	}

	w.mu.Lock()
	defer w.mu.Unlock()

	if w.said[text] || len(w.said) == maxWarnings {
		return
	}
	if w.said == nil {
		w.said = map[string]bool{}
	}

	w.said[text] = true
	fmt.Fprintf(w.out, "Warning: %s\n", wire.Printable(text))
}
