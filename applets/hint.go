package applets

import (
	"errors"
	"fmt"
	"slices"
)

// hinted is an error with a sentence on what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }

// WithHint adds to err what the user may do next. It is printed on a line of
// its own.
func WithHint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Hints are the hints on err and on what it wraps, the innermost, which knows
// most, first. Any error with a method Hint() string has one.
func Hints(err error) []string {
	var hints []string
	for err != nil {
		if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" { //nolint:errorlint // walks the chain itself
			hints = append(hints, h.Hint())
		}
		err = errors.Unwrap(err)
	}
	slices.Reverse(hints)
	return hints
}
