package mux

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// Endpoint is one side of a proxied connection. Read gives io.EOF only for an
// end that the far side meant; Reset breaks off both directions, unblocks both
// Read and Write, and may be called more than once and at any time.
type Endpoint interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset()
	// WaitReadable blocks until Read would not: with data, an end or an error,
	// which Read then gives.
	WaitReadable() error
	// Shrink may give up buffers that hold nothing.
	Shrink()
}

// Proxier proxies connections. Its zero value is ready for use.
type Proxier struct {
	live  atomic.Int64 // copies under way
	pools [len(copySizes)]sync.Pool
}

// copySizes are the lengths of copy buffers, in bytes, and copyMemory is what
// all of them together may take: the more connections, the smaller their
// buffers. One is held only while bytes are moved, so that a connection at rest
// costs none.
var copySizes = [...]int{32 << 10, 16 << 10, 8 << 10, 4 << 10, 2 << 10}

const copyMemory = 4 << 20

// takeBuffer takes a buffer out of a pool, for give.
func (x *Proxier) takeBuffer() (buffer *[]byte, give func()) {
	share, class := copyMemory/max(x.live.Load(), 1), 0
	for class < len(copySizes)-1 && int64(copySizes[class]) > share {
		class++
	}
	buffer, ok := x.pools[class].Get().(*[]byte)
	if !ok {
		made := make([]byte, copySizes[class])
		buffer = &made
	}
	return buffer, func() { x.pools[class].Put(buffer) }
}

// Result is how a proxied connection ended.
type Result struct {
	// Sent and Received are bytes from a to b, and from b to a.
	Sent, Received int64
	// Err is nil when both directions came to their end, else why both sides
	// were reset.
	Err error
}

// Proxy moves bytes between two endpoints until both directions have ended, and
// closes both. The end of one direction is passed on as CloseWrite while the
// other one flows on; a reset or any error on one side becomes a reset on the
// other, never an end. Moved, if not nil, is told of every piece as it is passed
// on; from two goroutines.
func (x *Proxier) Proxy(a, b Endpoint, moved func(sent, received int)) Result {
	if moved == nil {
		moved = func(int, int) {}
	}

	var result Result
	var back error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result.Received, back = x.copyDirection(a, b, func(n int) { moved(0, n) })
	}()

	var forth error
	result.Sent, forth = x.copyDirection(b, a, func(n int) { moved(n, 0) })
	<-done
	result.Err = firstCause(forth, back)
	_ = a.Close()
	_ = b.Close()
	return result
}

// copyDirection copies one direction and passes its end on.
func (x *Proxier) copyDirection(to, from Endpoint, moved func(int)) (int64, error) {
	x.live.Add(1)
	defer x.live.Add(-1)
	n, err := x.copyAll(to, from, moved)
	if err == nil {
		err = to.CloseWrite()
	}

	if err != nil {
		from.Reset()
		to.Reset()
	}

	return n, err
}

// copyAll copies until io.EOF, which is no error. It holds a buffer while there
// are bytes to move, and none while it waits.
func (x *Proxier) copyAll(to, from Endpoint, moved func(int)) (total int64, err error) {
	for {
		from.Shrink()
		if err := from.WaitReadable(); err != nil {
			return total, err
		}

		n, err := x.copySome(to, from, moved)
		total += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// copySome copies what is there: it returns after a read that did not fill the
// buffer.
func (x *Proxier) copySome(to, from Endpoint, moved func(int)) (total int64, err error) {
	buffer, give := x.takeBuffer()
	defer give()
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			if _, err := to.Write((*buffer)[:n]); err != nil {
				return total, err
			}
			total += int64(n)
			moved(n)
		}

		if err != nil || n < len(*buffer) {
			return total, err
		}
	}
}

// firstCause is the error that came first: the one that is not merely the
// other direction's Reset.
func firstCause(forth, back error) error {
	for _, err := range []error{forth, back} {
		if err != nil && !errors.Is(err, errAborted) {
			return err
		}
	}
	return errors.Join(forth, back)
}
