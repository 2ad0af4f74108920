package applets

import (
	"errors"
	"fmt"
	"slices"
)

// hinted adds to an error what the user can do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.hint }

// WithHint adds a hint to err, which says what the user can do next. It is printed
// on a line of its own.
func WithHint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// Hints collects the hints of err and of the errors that it wraps: all those with
// a method Hint() string. The innermost comes first, since it knows most.
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
