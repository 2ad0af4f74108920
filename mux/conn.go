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

// ErrReset is a stream that was broken off by the peer, by this side, or with
// the session: what a TCP reset is to a connection.
var ErrReset = errors.New("connection reset")

// Conn is one stream of a session. yamux's Close is the half-close and it has no
// reset, so a Conn has CloseWrite and carries a reset over the control stream.
type Conn struct {
	*yamux.Stream
	session   *Session
	reading   sync.Mutex   // held by who reads
	readSince atomic.Int64 // Unix time in ns of the last Read's end; 0 while one waits
	reset     atomic.Bool
	aborted   atomic.Bool // it was this side that reset
	wrote     atomic.Bool // CloseWrite was called
	ended     atomic.Bool // Read has returned io.EOF
	untracked atomic.Bool // from the session's list

	answerOnce sync.Once
	answered   chan struct{} // closed when the peer knows of this side's Reset
}

// Open makes a stream that begins with the header.
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

// headerTimeout bounds the wait for the header of a stream.
const headerTimeout = 10 * time.Second

// Accept waits for the peer's next stream and returns it without having read
// its header.
func (s *Session) Accept() (*Conn, error) {
	stream, err := s.yamux.AcceptStream()
	if err != nil {
		return nil, s.wrapError("accept a stream", err)
	}
	return s.trackStream(stream), nil
}

// ReadHeader reads the header that begins an accepted stream.
func (c *Conn) ReadHeader() (Header, error) {
	_ = c.SetReadDeadline(time.Now().Add(headerTimeout))
	var b [HeaderSize]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return Header{}, fmt.Errorf("read a stream's header: %w", forbidEOF(err))
	}
	_ = c.SetReadDeadline(time.Time{})
	return DecodeHeader(b[:])
}

func (s *Session) wrapError(doing string, err error) error {
	if cause := s.Err(); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", doing, err)
}

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

// untrackStream takes a stream off the session's list.
func (c *Conn) untrackStream() {
	if c.untracked.Swap(true) {
		return
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	delete(c.session.conns, c.StreamID())
}

// Read is io.EOF only after the peer's CloseWrite, with the session alive. A
// stream that ended any other way gives ErrReset.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.reset.Load() {
		return 0, c.resetError()
	}

	n, err := c.readCounted(p)
	err = c.translateError(err)
	if errors.Is(err, io.EOF) {
		c.ended.Store(true)
	}

	return n, err
}

// readCounted takes bytes out of the stream, and notes for the budget that it did.
func (c *Conn) readCounted(p []byte) (int, error) {
	c.readSince.Store(0)
	n, err := c.Stream.Read(p)
	c.readSince.Store(time.Now().UnixNano())
	if c.session.budget != nil {
		c.session.budget.countRead(n)
	}
	return n, err
}

// unreadFor is how long nobody has been reading from the stream.
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

// translateError translates yamux's errors. Its streams end with io.EOF when the
// session dies, which must not pass for the end of the data.
func (c *Conn) translateError(err error) error {
	switch {
	case err == nil:
		return nil
	case c.reset.Load(), c.session.yamux.IsClosed(), errors.Is(err, yamux.ErrConnectionReset):
		return c.resetError()
	case c.wrote.Load() && errors.Is(err, yamux.ErrStreamClosed):
		return net.ErrClosed
	}
	return err
}

// resetError is why the stream is of no use any more.
func (c *Conn) resetError() error {
	if c.aborted.Load() {
		return errAborted
	}
	return ErrReset
}

// WaitReadable blocks until Read has something to say, so that no buffer need
// be held meanwhile.
func (c *Conn) WaitReadable() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.reset.Load() {
		return nil
	}
	_, err := c.readCounted(nil)
	if c.reset.Load() || errors.Is(err, io.EOF) {
		return nil // Read says it
	}
	return c.translateError(err)
}

// Shrink gives an empty receive buffer back.
func (c *Conn) Shrink() { c.Stream.Shrink() }

// CloseWrite ends this side's data; the peer reads io.EOF.
func (c *Conn) CloseWrite() error {
	if c.wrote.Swap(true) {
		return nil
	}
	return c.Stream.Close()
}

// Close is for a stream whose both directions have ended: CloseWrite was called
// and Read has returned io.EOF. Any other one it resets.
func (c *Conn) Close() error {
	if c.wrote.Load() && c.ended.Load() {
		c.untrackStream()
	} else {
		c.Reset()
	}
	return nil
}

// Reset breaks the stream off on both sides. The peer is told over control, and
// only when it has answered is this side's half-close sent: else it could be
// read for the end of the data.
func (c *Conn) Reset() {
	c.aborted.Store(true)
	if c.reset.Swap(true) {
		return
	}

	c.unblockIO()
	c.session.runTracked(c.drainStream) // at once: what it holds counts towards the budget
	c.session.runTracked(func() {
		defer c.untrackStream()
		if err := c.session.sendMessage(message{Kind: kindReset, Stream: c.StreamID()}); err != nil {
			return // the session is over, and all of its streams
		}
		select {
		case <-c.answered:
			_ = c.CloseWrite()
		case <-c.session.Done():
		}
	})
}

// breakOff is a Reset by the session, of which whoever uses the stream learns as
// of one by the peer.
func (c *Conn) breakOff() {
	c.Reset()
	c.aborted.Store(false)
}

// handlePeerReset is the peer's Reset. It is answered once nobody can read an end of
// the data any more, also where this side has reset the stream itself.
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

// confirmReset is the answer to this side's Reset.
func (c *Conn) confirmReset() {
	c.answerOnce.Do(func() { close(c.answered) })
}

// unblockIO has a blocked Read and Write return.
func (c *Conn) unblockIO() { _ = c.SetDeadline(time.Unix(1, 0)) }

// drainStream takes what still arrives until the peer has closed its side: a stream
// whose window is full would never hear of that.
func (c *Conn) drainStream() {
	c.reading.Lock() // who was reading has been woken
	defer c.reading.Unlock()
	_ = c.SetReadDeadline(time.Time{})
	buffer := make([]byte, 4<<10)
	for {
		if _, err := c.readCounted(buffer); err != nil {
			return
		}
	}
}
