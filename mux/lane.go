package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// A lane is a yamux stream that carries one connection after the other, so that stream IDs last and
// a new connection costs no handshake of yamux's. The session's mu guards conn.
type lane struct {
	stream *yamux.Stream
	conn   *Conn // nil while the lane carries none
}

const (
	// maxLanes bounds the streams that a peer may open, and so the connections at once.
	maxLanes = 64 << 10
	// trimmedAtOnce is how many lanes that nobody uses are closed at each heartbeat. It is few, so
	// that IDs last even if connections come in bursts.
	trimmedAtOnce = 16
)

// takeLane returns a lane for a new connection: one that is free, else a new one.
func (s *Session) takeLane() (*lane, error) {
	s.mu.Lock()
	if last := len(s.freeLanes) - 1; last >= 0 {
		taken := s.freeLanes[last]
		s.freeLanes = s.freeLanes[:last]
		s.fewestFree = min(s.fewestFree, last)
		s.mu.Unlock()
		return taken, nil
	}
	s.fewestFree = 0
	s.mu.Unlock()

	// One at a time: yamux sends openings in another order than that of their IDs otherwise.
	s.opening.Lock()
	defer s.opening.Unlock()

	stream, err := s.yamux.OpenStream()
	if err != nil {
		return nil, err
	}

	opened := &lane{stream: stream}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes[stream.StreamID()] = opened
	return opened, nil
}

// trimLanes closes some of the lanes that were free all the time since the last call.
func (s *Session) trimLanes() {
	s.mu.Lock()
	many := min(s.fewestFree, trimmedAtOnce)
	dropped := append([]*lane(nil), s.freeLanes[:many]...) // the longest unused
	s.freeLanes = append(s.freeLanes[:0], s.freeLanes[many:]...)
	s.fewestFree = len(s.freeLanes)
	for _, l := range dropped {
		delete(s.lanes, l.stream.StreamID())
	}
	s.mu.Unlock()

	for _, l := range dropped {
		s.signals.put(signal{kind: signalDrop, stream: l.stream.StreamID()})
		_ = l.stream.Close()
	}
	s.signals.flush()
}

// handleOpen begins a connection that the peer has opened.
func (s *Session) handleOpen(received signal) error {
	if s.opens {
		return errors.New("the laptop opened a connection")
	}

	header, err := DecodeHeader(received.header)
	if err != nil {
		return err
	}

	granted, taken := splitOpenValue(received.value)
	if taken > maxInitial || granted > maxWindow {
		return fmt.Errorf("a connection begins with credits of %d and %d bytes", taken, granted)
	}

	on, err := s.findLane(received.stream)
	if err != nil {
		return err
	}
	return s.beginConn(on, newConn(s, on, header, int64(taken), int64(granted)))
}

// acceptTimeout bounds the wait for a stream on which a connection was announced. yamux has it
// already, unless the peer lies.
const acceptTimeout = 10 * time.Second

// findLane returns the lane that the peer names. It accepts the streams that the peer has opened
// until it finds it.
func (s *Session) findLane(id uint32) (*lane, error) {
	for {
		s.mu.Lock()
		found, many := s.lanes[id], len(s.lanes)
		s.mu.Unlock()

		switch {
		case found != nil:
			return found, nil
		case many >= maxLanes:
			return nil, fmt.Errorf("the other side opened more than %d streams", maxLanes)
		}

		stream, err := s.acceptStream()
		if err != nil {
			return nil, fmt.Errorf("a connection on stream %d, which was not opened: %w", id, err)
		}

		s.mu.Lock()
		s.lanes[stream.StreamID()] = &lane{stream: stream}
		s.mu.Unlock()
	}
}

// acceptStream accepts the next stream that the peer has opened. Telling the peer so may take long,
// and does not count for the timeout.
func (s *Session) acceptStream() (*yamux.Stream, error) {
	ctx, cancel := context.WithTimeout(s.ctx, acceptTimeout)
	defer cancel()
	return s.yamux.AcceptStreamWithContext(ctx)
}

// beginConn hands a connection that the peer has opened to Accept.
func (s *Session) beginConn(on *lane, conn *Conn) error {
	s.mu.Lock()
	busy := on.conn != nil
	if !busy {
		on.conn = conn
	}
	s.mu.Unlock()

	if busy {
		conn.window.release()
		return fmt.Errorf("a connection on stream %d, which cannot carry it", on.stream.StreamID())
	}

	s.announceInitial()
	s.accepted.put(conn)
	if s.Err() != nil {
		conn.endWithSession() // endConns may not have seen it
	}
	return nil
}

// acceptQueue holds the connections that wait for Accept. It is bounded by maxLanes.
type acceptQueue struct {
	mu    sync.Mutex
	conns []*Conn
	came  chan struct{} // holds a token while there are connections
}

func (q *acceptQueue) put(c *Conn) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.conns = append(q.conns, c)
	q.signal()
}

// signal wakes one Accept. mu is held.
func (q *acceptQueue) signal() {
	select {
	case q.came <- struct{}{}:
	default:
	}
}

// take returns the connection that has waited longest, or nil.
func (q *acceptQueue) take() *Conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.conns) == 0 {
		return nil
	}

	first := q.conns[0]
	q.conns[0] = nil
	if q.conns = q.conns[1:]; len(q.conns) > 0 {
		q.signal()
	} else {
		q.conns = nil
	}
	return first
}

// announceInitial tells the peer what credit new connections begin with, if that has changed.
func (s *Session) announceInitial() {
	now := s.options.Budget.initial()
	if s.ownInitial.Swap(now) != now {
		s.signals.put(signal{kind: signalInitial, value: uint64(now)})
		s.signals.flush()
	}
}

// handleDrop forgets a lane that the peer uses no more.
func (s *Session) handleDrop(id uint32) error {
	s.mu.Lock()
	dropped := s.lanes[id]
	if s.opens || dropped == nil || dropped.conn != nil {
		s.mu.Unlock()
		return fmt.Errorf("the other side dropped stream %d, which is in use or not its own", id)
	}
	delete(s.lanes, id)
	s.mu.Unlock()

	return dropped.stream.Close()
}

// findConn returns the connection that a stream carries, or nil.
func (s *Session) findConn(id uint32) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[id]; l != nil {
		return l.conn
	}
	return nil
}

// leaveLane takes a finished connection off its lane. The opener can use the lane again.
func (s *Session) leaveLane(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.lane.conn != c {
		return
	}

	c.lane.conn = nil
	if s.opens {
		s.freeLanes = append(s.freeLanes, c.lane)
	}
}
