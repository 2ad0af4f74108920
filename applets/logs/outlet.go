package logs

import (
	"context"
	"io"
	"sync/atomic"
	"time"
)

// outlet writes what is in a queue, as fast as its reader takes it.
type outlet struct {
	queue *outputQueue
	out   io.Writer
	note  func(text string)
	// broken is called if lines cannot be written. They are forgotten from then on.
	broken func(error)

	written atomic.Int64 // bytes
	ended   chan struct{}
	err     error // of the first write that failed; readable once ended is closed
}

// writeQueue writes until the queue is closed and empty.
func (o *outlet) writeQueue() {
	defer close(o.ended)
	for {
		lines, note, ended := o.queue.takeNext()
		switch {
		case note != "":
			o.note(note)
		case len(lines) > 0:
			o.writeLines(lines)
		case ended:
			return
		default:
			<-o.queue.filled
		}
	}
}

func (o *outlet) writeLines(lines []byte) {
	if o.err != nil {
		return
	}
	n, err := o.out.Write(lines)
	o.written.Add(int64(n))
	if err != nil {
		o.err = err
		o.queue.discard()
		o.broken(err)
	}
}

// progressEvery is the time between two looks at whether somebody reads the output.
const progressEvery = 100 * time.Millisecond

// finish closes the queue and waits until all of it is written, until ctx ends, or, if
// patience is not 0, until nothing was read for that long. It returns how many bytes are
// left.
func (o *outlet) finish(ctx context.Context, patience time.Duration) (left int64, err error) {
	o.queue.close()
	before, quiet := o.written.Load(), time.Duration(0)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()

	for {
		select {
		case <-o.ended:
			return 0, o.err
		case <-ticker.C:
		case <-ctx.Done():
			// What is read at once still goes out.
			ctx, patience = context.WithoutCancel(ctx), endTimeout
		}

		if now := o.written.Load(); now != before {
			before, quiet = now, 0
			continue
		}
		if quiet += progressEvery; patience > 0 && quiet >= patience {
			return o.queue.countWaiting(), nil
		}
	}
}
