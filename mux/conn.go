package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// ErrReset reports a stream that the peer reset or that ended with its session, as a TCP reset
// ends a connection.
var ErrReset = errors.New("connection reset")

// Conn is one stream of a session. yamux's Close closes one direction, and it has no reset: so
// a Conn has CloseWrite, and sends a reset over the control stream.
type Conn struct {
	*yamux.Stream
	session     *Session
	reading     sync.Mutex   // held by whoever reads
	readSince   atomic.Int64 // Unix time in ns of the last Read's end; 0 while one waits
	reset       atomic.Bool
	aborted     atomic.Bool // it was this side that reset
	writeClosed atomic.Bool // CloseWrite was called
	readEOF     atomic.Bool // Read has returned io.EOF
	untracked   atomic.Bool // from the session's list

	answerOnce sync.Once
	answered   chan struct{} // closed when the peer knows of this side's Reset
}

// Open opens a stream and sends its header.
func (s *Session) Open(h Header) (*Conn, error) {
	stream, err := s.yamux.OpenStream()
	if err != nil {
		return nil, s.wrapError("open a stream", err)
	}

	conn := s.trackStream(stream)
	if _, err := conn.Write(h.Encode()); err != nil {
		conn.Reset()
		return nil, s.wrapError("open a stream", err)
	}

	return conn, nil
}

// headerTimeout limits how long ReadHeader waits.
const headerTimeout = 10 * time.Second

// Accept waits for the peer's next stream. It does not read the stream's header.
func (s *Session) Accept() (*Conn, error) {
	stream, err := s.yamux.AcceptStream()
	if err != nil {
		return nil, s.wrapError("accept a stream", err)
	}
	return s.trackStream(stream), nil
}

// ReadHeader reads the header with which an accepted stream begins.
func (c *Conn) ReadHeader() (Header, error) {
	_ = c.SetReadDeadline(time.Now().Add(headerTimeout))

	var b [HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return Header{}, fmt.Errorf("read a stream's header: %w", forbidEOF(err))
	}

	_ = c.SetReadDeadline(time.Time{})
	return DecodeHeader(b[:])
}

// wrapError names the operation that failed, and why the session ended if it has.
func (s *Session) wrapError(doing string, err error) error {
	if cause := s.Err(); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// trackStream makes a Conn of a stream, and adds it to the session's list. A reset may have
// arrived before.
func (s *Session) trackStream(stream *yamux.Stream) *Conn {
	c := &Conn{Stream: stream, session: s, answered: make(chan struct{})}
	c.readSince.Store(time.Now().UnixNano())

	s.mu.Lock()
	s.conns[stream.StreamID()] = c
	s.newest = max(s.newest, stream.StreamID())
	early := s.early[stream.StreamID()]
	delete(s.early, stream.StreamID())
	s.mu.Unlock()

	if early {
		c.handlePeerReset()
	}

	return c
}

// untrackStream takes the stream off the session's list.
func (c *Conn) untrackStream() {
	if c.untracked.Swap(true) {
		return
	}

	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	delete(c.session.conns, c.StreamID())
}

// Read returns io.EOF only after the peer's CloseWrite, while the session lives. It returns
// ErrReset for a stream that ended in any other way.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()

	if c.reset.Load() {
		return 0, c.resetError()
	}

	n, err := c.readCounted(p)
	err = c.translateError(err)
	if errors.Is(err, io.EOF) {
		c.readEOF.Store(true)
	}

	return n, err
}

// readCounted reads from the stream, and counts the bytes in the session's budget.
func (c *Conn) readCounted(p []byte) (int, error) {
	c.readSince.Store(0)
	n, err := c.Stream.Read(p)
	c.readSince.Store(time.Now().UnixNano())

	if c.session.budget != nil {
		c.session.budget.countRead(n)
	}

	return n, err
}

// unreadFor returns how long nobody has been reading from the stream.
func (c *Conn) unreadFor() time.Duration {
	since := c.readSince.Load()
	if since == 0 || c.reset.Load() {
		return 0
	}
	return time.Duration(time.Now().UnixNano() - since)
}

// Write blocks while the peer's window is full.
func (c *Conn) Write(p []byte) (int, error) {
	if c.reset.Load() {
		return 0, c.resetError()
	}
	n, err := c.Stream.Write(p)
	return n, c.translateError(err)
}

// translateError translates yamux's errors. When the session dies its streams return io.EOF, which
// must not pass for the end of the data.
func (c *Conn) translateError(err error) error {
	switch {
	case err == nil:
		return nil
	case c.reset.Load(), c.session.yamux.IsClosed(), errors.Is(err, yamux.ErrConnectionReset):
		return c.resetError()
	case c.writeClosed.Load() && errors.Is(err, yamux.ErrStreamClosed):
		return net.ErrClosed
	}

	return err
}

// resetError returns the error of a stream that has been reset.
func (c *Conn) resetError() error {
	if c.aborted.Load() {
		return errAborted
	}
	return ErrReset
}

// WaitReadable blocks until Read would return at once, so that the caller need not hold a buffer
// while it waits.
func (c *Conn) WaitReadable() error {
	c.reading.Lock()
	defer c.reading.Unlock()

	if c.reset.Load() {
		return nil
	}

	_, err := c.readCounted(nil)
	if c.reset.Load() || errors.Is(err, io.EOF) {
		return nil // Read will say so
	}

	return c.translateError(err)
}

// Shrink frees an empty receive buffer.
func (c *Conn) Shrink() { c.Stream.Shrink() }

// CloseWrite ends this side's data. The peer then reads io.EOF.
func (c *Conn) CloseWrite() error {
	if c.writeClosed.Swap(true) {
		return nil
	}
	return c.Stream.Close()
}

// Close closes a stream of which both directions have ended: CloseWrite was called, and Read has
// returned io.EOF. It resets any other stream.
func (c *Conn) Close() error {
	if c.writeClosed.Load() && c.readEOF.Load() {
		c.untrackStream()
	} else {
		c.Reset()
	}
	return nil
}

// Reset aborts the stream on both sides. It tells the peer over the control stream, and closes
// this side of the stream only when the peer has answered: before that, the peer could take the
// close for the end of the data.
func (c *Conn) Reset() {
	c.aborted.Store(true)
	if c.reset.Swap(true) {
		return
	}

	c.unblockIO()
	c.session.runTracked(c.drainStream) // at once, because what it holds counts in the budget

	c.session.runTracked(func() {
		defer c.untrackStream()
		if err := c.session.sendMessage(message{Kind: kindReset, Stream: c.StreamID()}); err != nil {
			return // the session has ended, with all its streams
		}

		select {
		case <-c.answered:
			_ = c.CloseWrite()
		case <-c.session.Done():
		}
	})
}

// breakOff resets a stream on the session's behalf. To whoever uses the stream it looks like a
// reset by the peer.
func (c *Conn) breakOff() {
	c.Reset()
	c.aborted.Store(false)
}

// handlePeerReset obeys the peer's reset. It answers once nobody here can take the stream's end
// for the end of the data, even if this side has reset the stream itself.
func (c *Conn) handlePeerReset() {
	first := !c.reset.Swap(true)
	c.unblockIO()
	c.session.runTracked(func() {
		_ = c.session.sendMessage(message{Kind: kindResetDone, Stream: c.StreamID()})
		if first {
			defer c.untrackStream()
			_ = c.CloseWrite()
			c.drainStream()
		}
	})
}

// confirmReset notes that the peer has answered this side's Reset.
func (c *Conn) confirmReset() {
	c.answerOnce.Do(func() { close(c.answered) })
}

// unblockIO makes a blocked Read and Write return.
func (c *Conn) unblockIO() { _ = c.SetDeadline(time.Unix(1, 0)) }

// drainStream discards what still arrives until the peer has closed its side. A peer whose
// window is full could not close it.
func (c *Conn) drainStream() {
	c.reading.Lock() // unblockIO has ended any Read
	defer c.reading.Unlock()

	_ = c.SetReadDeadline(time.Time{})

	buffer := make([]byte, 4<<10)
	for {
		if _, err := c.readCounted(buffer); err != nil {
			return
		}
	}
}
