package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"kdiag/mux/resumable"

	"github.com/hashicorp/yamux"
)

// ErrReset reports a connection that the peer reset or that ended with its session, as a TCP reset
// ends a connection.
var ErrReset = errors.New("connection reset")

// Conn is one connection of a session. It behaves as a TCP connection does: each direction ends by
// itself, a reset comes after the data that was sent before it, and who does not read makes the
// peer wait. It is safe for concurrent use.
type Conn struct {
	header  Header
	session *Session
	lane    *lane
	reading sync.Mutex // held by whoever reads from the lane
	writing sync.Mutex // held by whoever writes to it
	flow    resumable.Flow

	// broken is closed when a Write has no sense any more: the connection was reset, or the
	// session has ended.
	broken     chan struct{}
	creditCame chan struct{}

	mu     sync.Mutex
	window receiveWindow // of what the peer sends
	// sent counts what was written, and limit is what the peer lets this side send in all.
	sent, limit uint64
	inWrite     bool       // a Write hands bytes to yamux
	inRead      bool       // a Read takes bytes from yamux, or waits for some
	final       signalKind // signalEnd or signalReset once this side sends no more
	finalDue    bool       // final is to be sent when the Write is over
	// peerFinal is signalEnd or signalReset once the peer sends no more than peerSent bytes.
	peerFinal      signalKind
	peerSent       uint64
	received       uint64 // bytes that were read or discarded
	aborted        bool   // this side has reset
	peerBroke      bool   // the peer has reset
	peerFreed      bool   // the peer is done
	finished, gone bool
}

// newConn makes a connection that begins with a credit for the peer, and one for this side.
func newConn(s *Session, on *lane, h Header, granted, limit int64) *Conn {
	return &Conn{
		header: h, session: s, lane: on,
		broken: make(chan struct{}), creditCame: make(chan struct{}, 1),
		window: newReceiveWindow(s.options.Budget, granted, s.options.Window), limit: uint64(limit),
	}
}

// Open opens a connection.
func (s *Session) Open(h Header) (*Conn, error) {
	on, err := s.takeLane()
	if err != nil {
		return nil, s.wrapError("open a stream", err)
	}

	granted, taken := s.options.Budget.initial(), s.peerInitial.Load()
	conn := newConn(s, on, h, int64(granted), int64(taken))
	s.mu.Lock()
	on.conn = conn
	ended := s.ctx.Err() != nil
	s.mu.Unlock()

	if ended {
		conn.endWithSession()
		return nil, s.wrapError("open a stream", net.ErrClosed)
	}

	s.signals.put(signal{signalOpen, on.stream.StreamID(), openValue(granted, taken), h.Encode()})
	s.signals.flush()
	return conn, nil
}

// Accept waits for the peer's next connection.
func (s *Session) Accept() (*Conn, error) {
	for {
		select {
		case <-s.accepted.came:
		case <-s.ctx.Done():
		}

		if s.ctx.Err() != nil {
			return nil, s.wrapError("accept a stream", net.ErrClosed)
		}
		if conn := s.accepted.take(); conn != nil {
			return conn, nil
		}
	}
}

// wrapError names the operation that failed, and why the session ended if it has.
func (s *Session) wrapError(doing string, err error) error {
	if cause := s.Err(); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Header returns what the manager said when it opened the connection.
func (c *Conn) Header() Header { return c.header }

// PeerReset returns a channel that is closed when the peer has reset, even if there is still
// something to read; and when this side has, or the session has ended.
func (c *Conn) PeerReset() <-chan struct{} { return c.broken }

func (c *Conn) id() uint32 { return c.lane.stream.StreamID() }

// put adds a signal about this connection.
func (c *Conn) put(kind signalKind, value uint64) {
	c.session.signals.put(signal{kind: kind, stream: c.id(), value: value})
}

// CloseWrite ends this side's data. The peer then reads io.EOF.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if c.final == 0 {
		c.setFinal(signalEnd)
	}
	err := c.writeError()
	c.mu.Unlock()

	c.session.signals.flush()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// setFinal ends this side's data, once a Write that is under way is over. mu is held.
func (c *Conn) setFinal(kind signalKind) {
	c.final = kind
	c.nudgeWriter()
	if c.inWrite {
		c.finalDue = true
		return
	}
	c.put(kind, c.sent)
	c.checkFinished()
}

// Close closes a connection of which both directions have ended: CloseWrite was called, and the
// peer's data came to its end. It resets any other.
func (c *Conn) Close() error {
	c.mu.Lock()
	clean := c.final == signalEnd && c.peerFinal == signalEnd && c.received == c.peerSent
	c.mu.Unlock()

	if !clean {
		c.Reset()
	}
	return nil
}

// Reset breaks the connection off on both sides. What was written before still reaches the peer.
// Reads and Writes of this side fail from now on.
func (c *Conn) Reset() {
	c.mu.Lock()
	if c.aborted || c.finished || c.gone {
		c.mu.Unlock()
		return
	}

	c.aborted = true
	c.breakWrites()
	switch {
	case c.final == 0:
		c.setFinal(signalReset)
	case c.final == signalEnd && !c.finalDue:
		c.put(signalReset, c.sent) // the data has ended already, but this side takes no more
	case c.finalDue:
		c.final = signalReset
	}
	c.discardLater()
	c.mu.Unlock()

	c.session.signals.flush()
}

// breakWrites makes Writes fail. mu is held.
func (c *Conn) breakWrites() {
	select {
	case <-c.broken:
	default:
		close(c.broken)
	}
}

// handleCredit lets this side send more.
func (c *Conn) handleCredit(total uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Within maxWindow yamux never makes a Write wait, which nothing could end then.
	if total > c.sent+maxWindow {
		return fmt.Errorf("stream %d: a credit of %d bytes, of which %d are used", c.id(), total, c.sent)
	}

	c.limit = max(c.limit, total)
	c.nudgeWriter()
	return nil
}

// nudgeWriter makes a Write that waits for credit look again.
func (c *Conn) nudgeWriter() {
	select {
	case c.creditCame <- struct{}{}:
	default:
	}
}

// handleFinal notes that the peer sends no more than total bytes. By then all of them have arrived:
// a signal is sent after the data that it speaks of.
func (c *Conn) handleFinal(kind signalKind, total uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if total > uint64(c.window.granted) || total < c.received || c.peerFinal != 0 && total != c.peerSent {
		return fmt.Errorf("stream %d ends after %d bytes, of which %d were read and %d allowed", c.id(), total, c.received, c.window.granted)
	}

	if c.peerFinal == 0 {
		c.peerFinal, c.peerSent = kind, total
	}
	if kind == signalReset {
		c.peerBroke = true
		c.breakWrites()
		if c.final == 0 {
			c.setFinal(signalReset)
		}
	}

	c.wakeReader()
	c.discardLater()
	c.checkFinished()
	return nil
}

// handleFree notes that the peer is done with the connection.
func (c *Conn) handleFree() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.session.opens || c.peerFinal == 0 || c.final == 0 || c.finalDue {
		return fmt.Errorf("the other side is done with stream %d, which has not ended", c.id())
	}

	c.peerFreed = true
	c.checkFinished()
	return nil
}

// handleRevoke gives back credit that the peer wants to use for others.
func (c *Conn) handleRevoke(total uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return // an answer would be taken for that of the lane's next connection
	}
	c.limit = max(c.sent, min(c.limit, total))
	c.put(signalRevoked, c.limit)
}

// handleRevoked notes how much of its credit the peer keeps.
func (c *Conn) handleRevoked(total uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished {
		return nil
	}
	if !c.window.revoked(total) {
		return fmt.Errorf("stream %d: the other side keeps a credit of %d bytes, of %d", c.id(), total, c.window.granted)
	}

	// What was read meanwhile had no grant. An idle connection keeps what it has.
	if c.window.outstanding() < minWindow {
		c.grant()
	}
	return nil
}

// checkFinished takes the connection off its lane once both directions are over on both sides. mu
// is held.
func (c *Conn) checkFinished() {
	ended := c.final != 0 && !c.finalDue && c.peerFinal != 0 && c.received == c.peerSent
	// A Read that went on could take what belongs to the lane's next connection.
	if !ended || c.inRead || c.finished || c.gone {
		return
	}
	if c.session.opens && !c.peerFreed {
		return
	}

	c.finished = true
	c.window.release()
	_ = c.lane.stream.SetReadDeadline(time.Time{}) // for the next one
	if c.received > keptBuffer {
		c.lane.stream.Shrink()
	}
	c.session.leaveLane(c)
	if !c.session.opens {
		c.put(signalFree, 0)
	}
}

// keptBuffer is how much a connection may have received for its lane to keep its buffer, in bytes.
const keptBuffer = 8 << 10

// wakeReader makes a Read that waits for data look again. mu is held.
func (c *Conn) wakeReader() {
	if !c.finished {
		_ = c.lane.stream.SetReadDeadline(time.Unix(1, 0))
	}
}

// discardLater reads what nobody will read any more, once all of it has arrived. mu is held.
func (c *Conn) discardLater() {
	if !c.aborted {
		return
	}
	c.wakeReader()
	if c.peerFinal != 0 && c.received != c.peerSent {
		c.session.runTracked(c.discard)
	}
}

func (c *Conn) discard() {
	c.reading.Lock() // wakeReader has ended any Read
	defer c.reading.Unlock()

	buffer := make([]byte, 4<<10)
	for {
		c.mu.Lock()
		left := c.peerSent - c.received
		c.inRead = left > 0
		c.mu.Unlock()
		if left == 0 {
			break
		}

		n, err := c.lane.stream.Read(buffer[:min(left, uint64(len(buffer)))])
		c.countRead(n)
		if n == 0 && errors.Is(err, yamux.ErrTimeout) {
			_ = c.endMissing()
		}
		if n == 0 && err != nil {
			return
		}
	}

	c.session.signals.flush()
}

// revokeCredit asks for credit back that the peer does not use.
func (c *Conn) revokeCredit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peerFinal != 0 || c.finished || c.aborted {
		return
	}
	if total, ok := c.window.revoke(); ok {
		c.put(signalRevoke, total)
	}
}

// endWithSession ends the connection when its session has.
func (c *Conn) endWithSession() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.breakWrites()
	c.wakeReader()
	c.window.release()
}

// resetError returns the error of a connection that has been reset.
func (c *Conn) resetError() error {
	if c.aborted {
		return errAborted
	}
	return ErrReset
}

// Shrink frees an empty receive buffer.
func (c *Conn) Shrink() { c.lane.stream.Shrink() }

// readEnd returns how a Read ends that finds no more data, or nil if there may be more. mu is held.
func (c *Conn) readEnd() error {
	switch {
	case c.aborted:
		return errAborted
	case c.peerFinal != 0 && c.received == c.peerSent:
		if c.peerFinal == signalEnd {
			return io.EOF
		}
		return ErrReset
	}
	return nil
}
