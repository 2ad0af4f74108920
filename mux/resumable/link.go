package resumable

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the use of one connection.
type link struct {
	stream *Stream
	conn   net.Conn
	heard  atomic.Int64 // when something last came, by Stream.now
	inRead atomic.Bool  // somebody waits in conn.Read

	input frameReader // belongs to whoever reads

	// What follows is under the stream's lock.
	work     sync.Cond // sent, ackDue or the stream's link changed: writeLoop looks
	sent     uint64    // position up to which bytes were given to conn
	ackSent  uint64    // position that was acknowledged last
	ackedAt  time.Duration
	ackEvery uint64 // how many bytes come without an acknowledgement
	paceSent uint32 // what the peer was told of it
	ackDue   bool   // an acknowledgement must be sent now
	ackArmed bool   // ackTimer runs
	ackTimer *time.Timer
	watch    watch
	path     *path
}

// Resume uses conn from now on. peerReceived is what the peer's Received returned after it had
// stopped using its last connection; and this side's Received must have been told to the peer after
// Detach or the loss of the last connection. A connection that is still there is detached. If the
// position cannot be, or the stream is over, Resume closes conn and returns an error.
func (s *Stream) Resume(conn net.Conn, peerReceived uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	if err := s.checkResume(peerReceived); err != nil {
		closeInBackground(conn)
		return err
	}

	s.dropLink()
	s.takePosition(peerReceived)

	c := &link{stream: s, conn: conn, sent: peerReceived, ackSent: s.received, ackedAt: s.now()}
	c.ackEvery, c.paceSent = firstAckEvery, firstAckEvery
	c.path = newPath(s.pathCeiling(), s.now())
	c.work.L = &s.mu
	c.heard.Store(int64(s.now()))
	c.input.link = c
	s.link = c

	c.startTimers()
	go c.writeLoop()
	if s.peerEnded {
		go c.readAcks()
	}
	s.gate.dispatch(s)
	s.changed.Broadcast()

	return nil
}

// checkResume says why a resume cannot be. The caller holds mu.
func (s *Stream) checkResume(peerReceived uint64) error {
	switch {
	case s.err != nil:
		return s.err
	case peerReceived < s.acked():
		return fmt.Errorf("resume stream: peer received %d bytes, but acknowledged %d before",
			peerReceived, s.acked())
	case peerReceived > s.highSent:
		return fmt.Errorf("resume stream: peer received %d bytes, but only %d were sent",
			peerReceived, s.highSent)
	case s.received != s.told:
		return fmt.Errorf("resume stream: %d bytes came after the peer was told of %d",
			s.received-s.told, s.told)
	}
	return nil
}

// Detach stops using the connection and closes it in the background. Once it has returned, Received
// does not grow until the next Resume.
func (s *Stream) Detach() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.dropLink()
}

// loseLink reports that c broke by itself, unless the stream has stopped using it.
func (s *Stream) loseLink(c *link, err error) {
	s.mu.Lock()
	isCurrent := s.link == c
	if isCurrent {
		s.dropLink()
	}
	s.mu.Unlock()

	if isCurrent && s.options.OnLost != nil {
		go s.options.OnLost(fmt.Errorf("connection lost: %w", err))
	}
}

// dropLink stops using the connection, if there is one. The caller holds mu.
func (s *Stream) dropLink() {
	c := s.link
	if c == nil {
		return
	}

	s.link = nil
	s.lastHeard = max(s.lastHeard, time.Duration(c.heard.Load()))
	c.stopTimers()
	c.work.Broadcast()
	s.changed.Broadcast()
	closeInBackground(c.conn)
}

// closeInBackground closes conn. Close of a TLS connection sends an alert, for which it may wait
// for seconds; the deadline lets go of those that read and write at once.
func closeInBackground(conn net.Conn) {
	go func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		_ = conn.Close()
	}()
}
