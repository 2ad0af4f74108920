package resumable

import (
	"fmt"
	"math/bits"
	"time"
)

const (
	// minAckEvery and maxAckEvery bound how many bytes come without an acknowledgement: as many
	// as the peer says. An acknowledgement is work for each program on the way.
	minAckEvery, maxAckEvery = 32 << 10, 512 << 10
	// firstAckEvery is as many until the peer says so.
	firstAckEvery = 64 << 10
	// acksPerWindow is how many acknowledgements of a full window the path wants.
	acksPerWindow = 8
	// ackDelay is how long an acknowledgement waits for data that it can go with.
	ackDelay = 20 * time.Millisecond
)

// scheduleAck decides when the bytes that have come are acknowledged. The caller holds mu.
func (c *link) scheduleAck() {
	if c.stream.received-c.ackSent >= c.ackEvery {
		c.ackDue = true
		c.work.Signal()
		return
	}
	if c.ackArmed {
		return
	}

	c.ackArmed = true
	if c.ackTimer == nil {
		c.ackTimer = time.AfterFunc(ackDelay, c.sendDelayedAck)
		return
	}
	c.ackTimer.Reset(ackDelay)
}

// takePace handles what the peer says about acknowledgements.
func (c *link) takePace(every uint32) {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()

	c.ackEvery = uint64(min(max(every, minAckEvery), maxAckEvery))
}

// wantedPace returns how many bytes the peer need not acknowledge at once, a power of two.
func (p *path) wantedPace() uint32 {
	window := p.limit()
	every := min(max(window/acksPerWindow, min(firstAckEvery, window/2), minAckEvery), maxAckEvery)
	return 1 << (bits.Len64(uint64(every)) - 1)
}

// sendDelayedAck acknowledges what no other acknowledgement has covered meanwhile.
func (c *link) sendDelayedAck() {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	c.ackArmed = false
	if s.link == c && s.received > c.ackSent {
		c.ackDue = true
		c.work.Signal()
	}
}

// acked returns the position up to which the peer has acknowledged. The caller holds mu.
func (s *Stream) acked() uint64 {
	if s.endAcked {
		return s.kept.end + 1
	}
	return s.kept.start
}

// takeAck handles an acknowledgement of the bytes before position.
func (c *link) takeAck(position uint64, delay time.Duration) {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.link != c {
		return
	}
	if position < s.acked() {
		c.breakProtocolLocked(fmt.Errorf("peer acknowledged %d bytes after %d", position, s.acked()))
		return
	}
	if position > c.sent {
		c.breakProtocolLocked(fmt.Errorf("peer acknowledged %d bytes, but only %d were sent",
			position, c.sent))
		return
	}

	if n := position - s.acked(); n > 0 {
		s.takePosition(position)
		c.path.noteAck(position, int64(n), delay, s.now(), c.sent, s.kept.size())
		s.gate.dispatch(s)
	}
}

// takePosition frees what the peer has received: the bytes before position. The caller holds mu and
// has checked position.
func (s *Stream) takePosition(position uint64) {
	if position > s.kept.end {
		s.endAcked = true
		position = s.kept.end
	}

	s.kept.release(position)
	if s.gate.overrun > 0 || s.endAcked {
		s.changed.Broadcast()
	}
}
