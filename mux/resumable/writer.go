package resumable

import (
	"fmt"
	"runtime"
)

const (
	// maxBatch limits what is written to the connection at once: what fits into one message of the
	// port-forward below, 65,520 bytes, as four records of TLS, each with 22 bytes of its own (RFC
	// 8446, 5.2).
	maxBatch = 65520 - 4*22
	// smallBatch is what needs no buffer from the pool.
	smallBatch = 1 << 10
	// slack is how far Write may overrun the buffer before it waits.
	slack = 1 << 20
	// copyPiece limits what Write copies before it lets others have the lock.
	copyPiece = 64 << 10
)

// Write copies p, to be sent after the next Flush. It does not wait for the path: only if the
// buffer is overrun by more than slack, it flushes and waits for acknowledgements. Its error is that
// of Close or Fail, or ErrShutdown.
func (s *Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()

	written := 0
	for {
		piece := p[written:min(len(p), written+copyPiece)]
		if err := s.writePiece(piece); err != nil {
			return written, err
		}

		written += len(piece)
		if written == len(p) {
			return written, nil
		}
	}
}

// writePiece keeps p, once there is room for it.
func (s *Stream) writePiece(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	for s.err == nil && !s.ending && s.kept.size()+int64(len(p)) > s.options.Buffer+slack {
		s.flushLocked()
		s.gate.overrun++
		s.changed.Wait()
		s.gate.overrun--
	}

	switch {
	case s.err != nil:
		return s.err
	case s.ending:
		return ErrShutdown
	}

	s.kept.add(p)
	s.gate.useGrant(int64(len(p)))

	return nil
}

// Flush lets everything that was written be sent now, together with what others write meanwhile. It
// does not wait.
func (s *Stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.flushLocked()
}

func (s *Stream) flushLocked() {
	if s.flushed == s.kept.end || s.err != nil {
		return
	}

	s.flushed = s.kept.end
	if s.link != nil {
		s.link.work.Signal()
	}
}

// sendable returns the position up to which bytes, or the end mark, may be sent. The caller holds mu.
func (s *Stream) sendable() uint64 {
	if s.ending {
		return s.kept.end + 1
	}
	return s.flushed
}

// writeLoop sends what is flushed and acknowledgements that are due, until the stream stops using
// the link.
func (c *link) writeLoop() {
	var small [smallBatch]byte
	for {
		batch, buffer, ok := c.takeBatch(small[:])
		if !ok {
			return
		}

		_, err := c.conn.Write(batch)
		if buffer != nil {
			c.stream.batches.Put(buffer)
		}
		if err != nil {
			c.stream.loseLink(c, fmt.Errorf("write: %w", err))
			return
		}
	}
}

// takeBatch waits until there is something to send and copies it: into small if it fits, else into
// a buffer of the pool, which it returns, too. It returns false when the link is used no more.
func (c *link) takeBatch(small []byte) (batch []byte, buffer *[maxBatch]byte, ok bool) {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	for s.link == c && !c.ackDue && c.sent >= s.sendable() {
		c.work.Wait()
	}

	// Let others that are about to write join the batch.
	if s.link == c && s.sendable()-c.sent < maxBatch {
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if s.link != c {
		return nil, nil, false
	}

	batch = small[:0]
	if s.sendable()-c.sent > smallBatch/2 {
		buffer = s.batches.Get().(*[maxBatch]byte)
		batch = buffer[:0]
	}

	return c.fillBatch(batch), buffer, true
}

// fillBatch appends an acknowledgement, how often this side wants one, one data frame and the end
// mark, as far as each is there, and counts them as sent. The caller holds mu.
func (c *link) fillBatch(b []byte) []byte {
	s, start := c.stream, c.sent
	if c.ackDue || s.received > c.ackSent {
		now := s.now()
		b = appendAck(b, s.received, now-s.lastArrival)
		c.ackSent, c.ackedAt, c.ackDue = s.received, now, false
	}

	if pace := c.path.wantedPace(); pace != c.paceSent && s.sendable() > c.sent && !s.ending {
		b = appendPace(b, pace)
		c.paceSent = pace
	}

	dataEnd := min(s.sendable(), s.kept.end)
	if dataEnd > c.sent {
		n := int(min(dataEnd-c.sent, uint64(cap(b)-len(b)-headerSize)))
		b = appendHeader(b, frameData, n)
		s.kept.copyFrom(c.sent, b[len(b):len(b)+n])
		b = b[:len(b)+n]
		c.sent += uint64(n)
	}

	if s.ending && c.sent == s.kept.end && cap(b)-len(b) >= headerSize {
		b = appendHeader(b, frameEnd, 0)
		c.sent++
	}
	if c.sent > s.highSent {
		c.path.times.add(sentBatch{max(start, s.highSent), c.sent, s.kept.start, s.now()})
		s.highSent = c.sent
	}

	return b
}
