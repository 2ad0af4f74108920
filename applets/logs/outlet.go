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

	progress atomic.Int64 // when the last write ended, in nanoseconds
	ended    chan struct{}
	err      error // of the first write that failed; readable once ended is closed
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
	_, err := o.out.Write(lines)
	o.progress.Store(time.Now().UnixNano())
	if err != nil {
		o.err = err
		o.queue.discard()
		o.broken(err)
	}
}

// progressEvery is the time between two looks at whether somebody reads the output.
const progressEvery = 100 * time.Millisecond

// finish closes the queue and waits until all of it is written, until ctx ends, or, if
// patience is not 0, until nobody has read anything for that long. What is read at once
// still goes out. It returns how many bytes are left.
func (o *outlet) finish(ctx context.Context, patience time.Duration) (left int64, err error) {
	o.queue.close()
	began := time.Now()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()

	for {
		select {
		case <-o.ended:
			return 0, o.err
		case <-ticker.C:
		case <-ctx.Done():
			ctx, patience, began = context.WithoutCancel(ctx), endTimeout, time.Now()
		}

		quiet := time.Since(time.Unix(0, o.progress.Load()))
		if patience > 0 && quiet >= patience && time.Since(began) >= endTimeout {
			return o.queue.countWaiting(), nil
		}
	}
}
