package resumable

import (
	"fmt"
	"io"
)

// Read returns bytes of the peer as they come, and waits while there is no connection. It returns
// io.EOF once the peer has shut down and all its bytes were read; another error only after Close or
// Fail, which drop what has not been read. One goroutine must always be in Read, or about to be:
// acknowledgements of what was written arrive by it, too.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}

	s.reading.Lock()
	defer s.reading.Unlock()

	for {
		c, err := s.waitForLink()
		if err != nil {
			return 0, err
		}

		if n := c.readData(p); n > 0 {
			return n, nil
		}
	}
}

// waitForLink returns the connection to read from, or why there is nothing to read any more.
func (s *Stream) waitForLink() (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	for s.link == nil && s.err == nil && !s.peerEnded {
		s.changed.Wait()
	}

	switch {
	case s.peerEnded:
		return nil, io.EOF
	case s.err != nil:
		return nil, s.err
	}

	return s.link, nil
}

// Received returns how many bytes were handed to Read's callers so far; one more if the peer's end
// mark came. It is what a peer must be told before Resume.
func (s *Stream) Received() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.told = s.received
	return s.received
}

// readData returns how many bytes it has read into p. 0 means that the link is lost, or that the
// stream has ended or failed.
func (c *link) readData(p []byte) int {
	for {
		n, err := c.input.next(p)
		if n > 0 && !c.takeData(n) {
			return 0
		}

		if err != nil {
			c.stream.loseLink(c, fmt.Errorf("read: %w", err))
			return n
		}
		if n > 0 {
			return n
		}
		if !c.inUse() {
			return 0
		}
	}
}

// inUse reports whether the link still has frames for Read.
func (c *link) inUse() bool {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()

	return c.stream.link == c && !c.stream.peerEnded
}

// takeData counts n bytes as received. It returns false if the stream has stopped using the link:
// then the peer sends them again.
func (c *link) takeData(n int) bool {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.link != c {
		return false
	}

	s.received += uint64(n)
	s.lastArrival = s.now()
	c.scheduleAck()

	return true
}

// takeEnd notes the peer's end mark. From now on nobody reads: readAcks does.
func (c *link) takeEnd() {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.link != c {
		return
	}

	s.peerEnded = true
	s.received++
	s.lastArrival = s.now()
	c.ackDue = true
	c.work.Signal()
	s.changed.Broadcast()
	go c.readAcks()
}

// readAcks reads what comes after the peer's end mark: acknowledgements and nothing else.
func (c *link) readAcks() {
	for {
		if _, err := c.input.next(nil); err != nil {
			c.stream.loseLink(c, fmt.Errorf("read: %w", err))
			return
		}

		c.stream.mu.Lock()
		isCurrent := c.stream.link == c
		c.stream.mu.Unlock()
		if !isCurrent {
			return
		}
	}
}
