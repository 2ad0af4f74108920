package applets

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Output is a standard stream that remembers the first Write that failed. Commands print in many
// places, and few of them could do more about a full disk than end.
type Output struct {
	name   string
	to     io.Writer
	failed func(error)

	mu    sync.Mutex
	first *WriteError
}

// WriteError reports that a standard stream cannot be written.
type WriteError struct {
	// Stream is its name.
	Stream string
	Err    error
}

func (e *WriteError) Error() string { return fmt.Sprintf("write to %s: %v", e.Stream, e.Err) }
func (e *WriteError) Unwrap() error { return e.Err }

// NewOutput returns a standard stream. It calls failed, unless that is nil, with the first
// *WriteError.
func NewOutput(name string, to io.Writer, failed func(error)) *Output {
	return &Output{name: name, to: to, failed: failed}
}

// Write writes p. Its error is a *WriteError.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err == nil {
		return n, nil
	}

	// The file's own name says no more than the stream's.
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	failure := &WriteError{o.name, err}
	o.noteFailure(failure)
	return n, failure
}

// noteFailure keeps the first failure and tells of it.
func (o *Output) noteFailure(failure *WriteError) {
	o.mu.Lock()
	isFirst := o.first == nil
	if isFirst {
		o.first = failure
	}
	o.mu.Unlock()

	if isFirst && o.failed != nil {
		o.failed(failure)
	}
}

// Failure returns the first *WriteError, or nil.
func (o *Output) Failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == nil {
		return nil
	}
	return o.first
}

// Underlying returns the file behind a standard stream, or the stream itself, for those who must
// have a file: a terminal's settings, and the streams of other programs.
func Underlying(stream io.Writer) io.Writer {
	if o, ok := stream.(*Output); ok {
		return o.to
	}
	return stream
}
