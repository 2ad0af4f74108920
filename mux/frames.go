package mux

import (
	"encoding/binary"
	"fmt"
	"net"
)

// maxFrame bounds the data in one of yamux's frames, in bytes: a control message is the longest.
const maxFrame = maxMessage + 4

// frameGuard looks at the frames that come from the peer before yamux does, which allocates what a
// frame says, holds what comes however much it is, and starts a goroutine for each ping.
type frameGuard struct {
	header [frameHeaderSize]byte
	have   int    // bytes of the header that have come
	body   uint32 // bytes of the body that have not
	// arrived takes the length of each frame's data. Its error ends the session.
	arrived func(n int) error
}

// check takes the bytes that came next.
func (g *frameGuard) check(p []byte) error {
	for len(p) > 0 {
		skipped := min(uint64(g.body), uint64(len(p)))
		g.body -= uint32(skipped)
		p = p[skipped:]

		n := copy(g.header[g.have:], p)
		g.have += n
		p = p[n:]
		if g.have < frameHeaderSize {
			continue
		}

		g.have = 0
		if err := g.checkHeader(); err != nil {
			return err
		}
	}

	return nil
}

func (g *frameGuard) checkHeader() error {
	switch kind := g.header[frameTypeAt]; kind {
	case frameWindow:
		return nil
	case frameData:
	default:
		return fmt.Errorf("the other side sent a frame of type %d", kind)
	}

	g.body = binary.BigEndian.Uint32(g.header[frameLengthAt:])
	if g.body > maxFrame {
		return fmt.Errorf("the other side sent a frame of %d bytes", g.body)
	}
	return g.arrived(int(g.body))
}

// noteArrived counts bytes that the peer has sent. yamux holds them until they are read.
func (s *Session) noteArrived(n int) error {
	held := s.held.add(n)
	// What connections begin with was promised before the budget was scarce: at most what was
	// under way then.
	if held <= s.options.Budget.most()+2*s.options.Buffer {
		return nil
	}

	s.mu.Lock()
	lanes := int64(len(s.lanes))
	s.mu.Unlock()
	if held > s.options.Budget.most()+2*s.options.Buffer+lanes*minWindow {
		return fmt.Errorf("the other side sent more than it may: %d bytes wait to be read", held)
	}
	return nil
}

// countedStream counts what is read from one of the session's own streams.
type countedStream struct {
	net.Conn
	held *heldBytes
}

func (c countedStream) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.held.add(-n)
	return n, err
}
