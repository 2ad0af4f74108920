package mux

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// Read returns everything that the peer wrote before it ended its data or reset the connection.
// Then it returns io.EOF after the peer's CloseWrite, and ErrReset for any other end.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()

	over := false
	for {
		room, final, err := c.readable(len(p))
		if err != nil {
			return 0, err
		}

		n, err := c.lane.stream.Read(p[:room])
		if c.countRead(n) {
			c.session.signals.flush()
		}
		if n > 0 || err == nil {
			return n, nil
		}

		ended := !errors.Is(err, yamux.ErrTimeout) || c.isGone()
		switch {
		case ended && over:
			return 0, c.lostError()
		case ended: // an end that has come counts, and the data before it
			c.session.awaitSignals()
			over = true
		case final:
			return 0, c.endMissing()
		}
	}
}

// isGone reports whether the session has ended.
func (c *Conn) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// awaitSignals waits until all signals were obeyed that came before the session's end.
func (s *Session) awaitSignals() {
	if s.ctx.Err() != nil || s.yamux.IsClosed() {
		<-s.signalsOver
	}
}

// endMissing ends the session of a peer that has sent less than it says: its end comes after all
// of its data.
func (c *Conn) endMissing() error {
	c.mu.Lock()
	err := fmt.Errorf("stream %d ended after %d bytes, of which only %d came", c.id(), c.peerSent, c.received)
	c.mu.Unlock()

	go c.session.endSession(err)
	return ErrReset
}

// readable returns how many bytes a Read may take, and whether they are the last, or how the Read
// ends. countRead must follow the Read.
func (c *Conn) readable(most int) (room int, final bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readEnd(); err != nil {
		return 0, false, err
	}

	c.inRead = true
	if final = c.peerFinal != 0; final {
		most = int(min(uint64(most), c.peerSent-c.received))
	}
	return most, final, nil
}

// lostError returns the error of a Read whose yamux stream is gone: the session has ended.
func (c *Conn) lostError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.readEnd(); err != nil {
		return err
	}
	return c.resetError()
}

// countRead counts bytes that were taken from the lane, and lets the peer send more. It reports
// whether there are signals to flush.
func (c *Conn) countRead(n int) (signalled bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.inRead = false
	if n > 0 {
		c.session.held.add(-n)
		c.received += uint64(n)
		c.window.consume(n)
		signalled = c.grant()
	}

	c.checkFinished()
	return signalled || c.finished
}

// grant lets the peer send more, if it is time. mu is held.
func (c *Conn) grant() bool {
	if c.peerFinal != 0 || c.aborted {
		return false
	}
	total, ok := c.window.grant(time.Now(), c.session.link.RoundTrip())
	if ok {
		c.put(signalCredit, total)
	}
	return ok
}

// WaitReadable blocks until Read would return at once, so that the caller need not hold a buffer
// while it waits.
func (c *Conn) WaitReadable() error {
	_, err := c.Read(nil)
	if errors.Is(err, errAborted) {
		return err
	}
	return nil // Read will say so
}

// WaitWritable blocks until the peer's credit allows a Write, or Write would fail at once.
func (c *Conn) WaitWritable() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.awaitCredit(1)
	return err
}

// maxPiece is how much a Write hands over at once, in bytes. Others have their turn between two
// pieces.
const maxPiece = 32 << 10

// Write blocks while the peer's credit is used up, and while the path is busy.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()

	total := 0
	for len(p) > 0 {
		n, err := c.writePiece(p)
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}

	return total, nil
}

// writePiece writes as much as may be sent now.
func (c *Conn) writePiece(p []byte) (int, error) {
	n, err := c.awaitCredit(min(len(p), maxPiece))
	if err != nil {
		return 0, err
	}
	if err := c.session.link.WaitToSend(n, &c.flow, c.broken); err != nil {
		return 0, c.writeFailure(err)
	}

	granted := n
	n, err = c.beginWrite(n)
	if n < granted {
		c.session.link.GiveBack(granted - n)
	}
	if n == 0 {
		return 0, err
	}

	_, err = c.lane.stream.Write(p[:n])
	c.endWrite()
	if err != nil {
		return 0, c.writeFailure(err)
	}

	return n, nil
}

// awaitCredit waits until the peer allows some bytes, and returns how many.
func (c *Conn) awaitCredit(wanted int) (int, error) {
	for {
		c.mu.Lock()
		allowed, err := c.limit-c.sent, c.writeError()
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		if allowed > 0 {
			return int(min(uint64(wanted), allowed)), nil
		}

		select {
		case <-c.creditCame:
		case <-c.broken:
		}
	}
}

// beginWrite counts bytes that are about to be written, unless they may not be any more. The peer
// may have taken back some of its credit.
func (c *Conn) beginWrite(n int) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.writeError(); err != nil {
		return 0, err
	}

	n = int(min(uint64(n), c.limit-c.sent))
	c.inWrite = n > 0
	c.sent += uint64(n)
	return n, nil
}

// endWrite sends the end that was asked for during the Write.
func (c *Conn) endWrite() {
	c.mu.Lock()
	c.inWrite = false
	due := c.finalDue
	if due {
		c.finalDue = false
		c.put(c.final, c.sent)
		c.checkFinished()
	}
	c.mu.Unlock()

	if due {
		c.session.signals.flush()
	}
}

// writeError returns the error of a Write that may not begin. mu is held.
func (c *Conn) writeError() error {
	switch {
	case c.aborted, c.peerBroke, c.gone:
		return c.resetError()
	case c.final != 0:
		return net.ErrClosed
	}
	return nil
}

// writeFailure returns the error of a Write that failed below.
func (c *Conn) writeFailure(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.writeError(); known != nil {
		return known
	}
	if c.session.ctx.Err() != nil {
		return c.resetError()
	}
	return err
}
