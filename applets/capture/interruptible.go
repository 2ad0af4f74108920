package capture

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// lastWait bounds the wait for somebody who reads on, once the user has ended the capture.
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
	var written atomic.Int64
	done := make(chan error, 1)
	go func() { done <- w.writeParts(&written) }()

	select {
	case err := <-done:
		return int(written.Load()), err
	case <-w.ctx.Done():
	}

	for before := int64(-1); before < written.Load(); {
		before = written.Load()
		select {
		case err := <-done:
			return int(written.Load()), err
		case <-time.After(lastWait):
		}
	}
	w.failed = errUnread
	return 0, w.failed
}

// partSize is how much a slow reader must read within lastWait.
const partSize = 16 << 10

// writeParts writes what was copied, and counts what was written.
func (w *interruptible) writeParts(written *atomic.Int64) error {
	for part := range slices.Chunk(w.copied, partSize) {
		n, err := w.to.Write(part)
		written.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return nil
}
