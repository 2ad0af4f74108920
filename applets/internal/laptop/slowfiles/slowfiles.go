// Package slowfiles bounds the time that reading a user's files takes. A file may be a pipe that
// nobody writes to, or lie on a disk that does not answer, and then no signal ends a read.
package slowfiles

import (
	"context"
	"fmt"
)

// Read calls read in the background and returns what it returns, or an error that names the files
// if ctx ends first. Then read goes on for as long as the process lives.
func Read[T any](ctx context.Context, files string, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}

	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()

	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("read %s: %w", files, context.Cause(ctx))
	}
}
