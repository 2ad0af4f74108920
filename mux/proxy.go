package mux

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// Endpoint is one side of a proxied connection. Read returns io.EOF only for an end that the
// far side intended. Reset aborts both directions and unblocks Read and Write; it may be called
// at any time and more than once.
type Endpoint interface {
	io.ReadWriteCloser
	CloseWrite() error
	Reset()
	// WaitReadable blocks until Read would return at once, with data, the end or an error.
	WaitReadable() error
	// Shrink frees buffers that are empty.
	Shrink()
}

// Proxier proxies connections, which share its buffers. Its zero value is ready to use.
type Proxier struct {
	live  atomic.Int64 // how many directions are being copied
	pools [len(copySizes)]sync.Pool
}

// copySizes lists the sizes of copy buffers, in bytes, and copyMemory limits their total: the
// more connections, the smaller their buffers. A connection holds one only while it moves
// bytes, so that an idle connection costs none.
var copySizes = [...]int{32 << 10, 16 << 10, 8 << 10, 4 << 10, 2 << 10}

const copyMemory = 4 << 20

// takeBuffer takes a buffer of a fitting size out of a pool; give returns it.
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
// error on one side becomes a reset on the other, never an end. Proxy calls moved, unless it is
// nil, from two goroutines for every piece that it has copied.
func (x *Proxier) Proxy(a, b Endpoint, moved func(sent, received int)) ProxyResult {
	if moved == nil {
		moved = func(int, int) {}
	}

	var result ProxyResult
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

// copyDirection copies one direction and passes on its end, or resets both sides.
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

// copyAll copies until io.EOF, which is not an error here. It holds a buffer while there are
// bytes to copy, and none while it waits.
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

// copySome copies what is there: it returns after a Read that did not fill the buffer.
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
