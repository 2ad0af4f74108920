package streamrelay

import (
	"fmt"
	"io"
	"sync"

	"kdiag/mux/wire"
)

// output writes what has arrived, in a goroutine of its own: a user's stdout that nobody reads must
// keep nobody else waiting.
type output struct {
	name   string
	to     io.Writer
	wake   func()      // there may be room to tell of
	failed func(error) // is called when the output cannot be written

	mu      sync.Mutex
	waiting []byte
	writing bool          // the goroutine runs
	idle    chan struct{} // is closed when it has written all
	written int           // and not told to the pod
	err     error
}

func newOutput(name string, to io.Writer, wake func(), failed func(error)) *output {
	return &output{name: name, to: to, wake: wake, failed: failed}
}

// put adds what is to be written. It never waits.
func (o *output) put(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil // the run is ending for that
	}
	if len(o.waiting)+len(b) > 2*wire.RelayOutputRoom {
		return fmt.Errorf("the pod sent more of %s than there is room for", o.name)
	}

	o.waiting = append(o.waiting, b...)
	if !o.writing {
		o.writing, o.idle = true, make(chan struct{})
		go o.writeAll(o.idle)
	}
	return nil
}

// Write is put for what comes without the relay.
func (o *output) Write(b []byte) (int, error) { return len(b), o.put(b) }

// writeAll writes until nothing waits.
func (o *output) writeAll(idle chan struct{}) {
	defer close(idle)
	var spare []byte
	for {
		o.mu.Lock()
		part := o.waiting
		o.waiting = spare[:0]
		if len(part) == 0 || o.err != nil {
			o.waiting, o.writing = nil, false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()

		o.writeParts(part)
		spare = part
	}
}

// partSize bounds a Write, so that the pod hears of room while a slow user reads.
const partSize = 64 << 10

// writeParts writes what has arrived, and counts it.
func (o *output) writeParts(p []byte) {
	for len(p) > 0 {
		n := min(len(p), partSize)
		_, err := o.to.Write(p[:n])
		p = p[n:]

		o.mu.Lock()
		o.written += n
		o.err = err
		tell := o.written >= ackSize
		o.mu.Unlock()

		if err != nil {
			o.failed(err)
			return
		}
		if tell {
			o.wake()
		}
	}
}

// takeAck returns how much more room there is, if that is worth telling.
func (o *output) takeAck() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.written < ackSize {
		return 0
	}
	n := o.written
	o.written = 0
	return n
}

// finish waits until all is written, or until stop is closed. It returns why that failed.
func (o *output) finish(stop <-chan struct{}) error {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-stop:
		}
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
