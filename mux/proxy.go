package mux

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/mux/wire"
)

// Endpoint is one side of a proxied connection.
//
// Read returns all that the far side sent before it ended or reset, and io.EOF only for an end
// that it intended. Write fails as soon as the far side has reset. Reset aborts both directions
// and unblocks Read and Write, but what was written before still reaches the far side ahead of
// the reset. It does not block, and may be called at any time and more than once. Close waits
// until that has happened.
//
// An Endpoint may have more: see lazyReader, readWaiter, writeWaiter, resetNotifier, resetWatcher
// and shrinker.
type Endpoint interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset()
}

// lazyReader is an Endpoint that needs a buffer only once there is something to read.
type lazyReader interface {
	// ReadLazily waits until there is something to read, reads it into the lender's buffer
	// and returns that part of it. It gives the buffer back if it finds nothing.
	ReadLazily(l lender) ([]byte, error)
}

// lender lends one buffer at a time.
type lender interface {
	lendBuffer() []byte
	takeBack()
}

// readWaiter is an Endpoint whose WaitReadable blocks until Read would return at once, with data,
// the end or an error.
type readWaiter interface{ WaitReadable() error }

// writeWaiter is an Endpoint whose WaitWritable blocks until Write would take some bytes at once,
// or fail. It is asked when buffers are scarce.
type writeWaiter interface{ WaitWritable() error }

// resetNotifier is an Endpoint whose PeerReset returns a channel that is closed when the far side
// has reset, even if there is still something to read.
type resetNotifier interface{ PeerReset() <-chan struct{} }

// resetWatcher is an Endpoint that notices a reset when nobody reads any more. WatchReset is
// called after Read has returned io.EOF. It blocks until the far side resets, which it returns
// as an error, or until StopWatch or Reset is called.
type resetWatcher interface {
	WatchReset() error
	StopWatch()
}

// Proxier proxies connections, which share its buffers. Its zero value is ready to use.
type Proxier struct {
	// Memory limits all copy buffers together, in bytes; 0 means DefaultCopyMemory. Beyond
	// it each copy that is under way still gets the smallest buffer.
	Memory int64

	resized  atomic.Int64 // Memory, as Resize has changed it
	held     atomic.Int64 // bytes of buffers that copies hold
	pools    [len(copySizes)]sync.Pool
	quiet    quietList
	patience time.Duration // 0 means resetPatience
}

// resetPatience limits how long bytes that were sent before a reset are waited for while none of
// them moves.
const resetPatience = 10 * time.Second

// ProxyResult says how a proxied connection ended.
type ProxyResult struct {
	// Sent and Received count the bytes from a to b, and from b to a.
	Sent, Received int64
	// Err is nil if both directions came to their end, or else says why both sides were
	// reset.
	Err error
}

// Proxy copies bytes between two endpoints until both directions have ended, and closes both.
// It passes the end of one direction on by CloseWrite while the other goes on. A reset or any
// error on one side becomes a reset on the other, never an end, and comes after all that this
// side sent before. Proxy calls moved, unless it is nil, from two goroutines for every piece that
// it has copied.
func (x *Proxier) Proxy(a, b Endpoint, moved func(sent, received int)) ProxyResult {
	if moved == nil {
		moved = func(int, int) {}
	}

	var ends sync.Mutex
	forth := &direction{proxier: x, from: a, to: b, ends: &ends, copied: make(chan struct{})}
	back := &direction{proxier: x, from: b, to: a, ends: &ends, copied: make(chan struct{})}
	forth.moved, forth.other = func(n int) { moved(n, 0) }, back
	back.moved, back.other = func(n int) { moved(0, n) }, forth

	done := make(chan struct{})
	go func() {
		defer close(done)
		back.run()
	}()
	forth.run()
	<-done

	_ = a.Close()
	_ = b.Close()
	return ProxyResult{forth.total.Load(), back.total.Load(), firstCause(forth.err, back.err)}
}

// A direction copies from one endpoint of a proxied connection to the other.
type direction struct {
	proxier  *Proxier
	from, to Endpoint
	moved    func(int)
	other    *direction

	buffer copyBuffer
	total  atomic.Int64
	active atomic.Bool // bytes have moved since the last sweep of the quietList
	err    error       // set by run

	ends     *sync.Mutex   // of both directions, for these:
	copied   chan struct{} // closed when nothing more is copied
	watching bool          // for a reset of from
}

// run copies the direction and passes its end on, or resets both sides.
func (d *direction) run() {
	err := d.copyAll()
	d.finishCopy()

	var unwritten *writeError
	switch {
	case err == nil:
		err = d.watchReset()
	case errors.As(err, &unwritten):
		// The far side is dead, but may have said something before.
		err = unwritten.error
		d.awaitOther()
	}

	if err != nil {
		d.from.Reset()
		d.to.Reset()
	}
	d.err = err
}

// writeError is an error of the endpoint that is written to.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// copyAll copies until the end, which is not an error, and passes it on.
func (d *direction) copyAll() error {
	defer d.proxier.quiet.remove(d)
	for {
		err := d.copyPiece()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}

	if err := d.to.CloseWrite(); err != nil {
		return &writeError{err}
	}

	return nil
}

// copyPiece waits for something to read and copies it. It holds a buffer only while it has bytes
// in it.
func (d *direction) copyPiece() error {
	if w, ok := d.to.(writeWaiter); ok && d.proxier.isScarce() {
		if err := w.WaitWritable(); err != nil {
			return &writeError{err}
		}
	}

	defer d.takeBack()
	piece, err := d.readPiece()
	if len(piece) == 0 {
		return err
	}

	d.noteActive()
	n, failed := d.to.Write(piece)
	d.total.Add(int64(n))
	d.moved(n)
	if failed != nil {
		return &writeError{failed}
	}

	return err
}

// readPiece reads what is there, or waits for it, in the way that costs least with the endpoint.
func (d *direction) readPiece() ([]byte, error) {
	if lazy, ok := d.from.(lazyReader); ok {
		return lazy.ReadLazily(d)
	}

	if w, ok := d.from.(readWaiter); ok {
		if err := w.WaitReadable(); err != nil {
			return nil, err
		}
	}

	buffer := d.lendBuffer()
	n, err := d.from.Read(buffer)
	return buffer[:n], err
}

// lendBuffer takes a buffer, which takeBack returns to the Proxier.
func (d *direction) lendBuffer() []byte {
	d.buffer = d.proxier.takeBuffer()
	return *d.buffer.bytes
}

// takeBack returns the buffer that was lent, if any.
func (d *direction) takeBack() {
	if d.buffer.bytes != nil {
		d.proxier.returnBuffer(d.buffer)
		d.buffer = copyBuffer{}
	}
}

// noteActive has the source's buffers freed once it is quiet.
func (d *direction) noteActive() {
	if d.active.Load() || d.active.Swap(true) {
		return
	}
	if s, ok := d.from.(shrinker); ok {
		d.proxier.quiet.add(d, s)
	}
}

// finishCopy tells the other direction that this one copies no more.
func (d *direction) finishCopy() {
	d.ends.Lock()
	defer d.ends.Unlock()

	close(d.copied)
	if d.other.watching {
		d.to.(resetWatcher).StopWatch()
	}
}

// watchReset watches the source, which has ended its data, until the other direction is done:
// while nothing is written to it nobody else would notice its reset.
func (d *direction) watchReset() error {
	switch from := d.from.(type) {
	case resetNotifier:
		select {
		case <-from.PeerReset():
			if !wire.IsClosed(d.other.copied) {
				return ErrReset
			}
		case <-d.other.copied:
		}
	case resetWatcher:
		if d.beginWatch() {
			return from.WatchReset()
		}
	}

	return nil
}

// beginWatch reports whether the other direction still copies, and will stop the watch.
func (d *direction) beginWatch() bool {
	d.ends.Lock()
	defer d.ends.Unlock()

	d.watching = !wire.IsClosed(d.other.copied)
	return d.watching
}

// awaitOther waits until the other direction has copied what is left, for as long as it makes
// progress.
func (d *direction) awaitOther() {
	patience := d.proxier.patience
	if patience == 0 {
		patience = resetPatience
	}

	tick := time.NewTicker(patience)
	defer tick.Stop()
	for last := d.other.total.Load(); ; {
		select {
		case <-d.other.copied:
			return
		case <-tick.C:
		}

		now := d.other.total.Load()
		if now == last {
			return
		}
		last = now
	}
}

// firstCause returns the error of the direction that failed first. The other one's merely says
// that its endpoint was reset.
func firstCause(forth, back error) error {
	for _, err := range []error{forth, back} {
		if err != nil && !errors.Is(err, errAborted) {
			return err
		}
	}
	return errors.Join(forth, back)
}
