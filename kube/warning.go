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

// maxWarnings limits how many different warnings are printed.
const maxWarnings = 100

// HandleWarningHeader prints a warning in an answer, as a rest.WarningHandler. A code other than
// 299 does not come from the API server.
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
