package capture

import (
	"context"
	"errors"
	"io"
	"time"
)

// lastWait bounds the wait for somebody who reads, once the user has ended the capture.
const lastWait = time.Second

// errUnread says that packets were not written since nobody read them.
var errUnread = errors.New("write packets: nobody reads them")

// interruptible is a writer whose Write ends soon after ctx does, even while nobody reads: a full pipe
// keeps a Write waiting, and no signal ends that. Only one goroutine may use it at a time.
type interruptible struct {
	ctx context.Context
	to  io.Writer
	// copied is what is written: a Write that was given up goes on with it.
	copied []byte
	failed error
}

func (w *interruptible) Write(p []byte) (int, error) {
	if w.failed != nil {
		return 0, w.failed
	}

	w.copied = append(w.copied[:0], p...)
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := w.to.Write(w.copied)
		done <- result{n, err}
	}()

	select {
	case r := <-done:
		return r.n, r.err
	case <-w.ctx.Done():
	}

	late := time.NewTimer(lastWait)
	defer late.Stop()
	select {
	case r := <-done:
		return r.n, r.err
	case <-late.C:
		w.failed = errUnread
		return 0, w.failed
	}
}
