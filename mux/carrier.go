package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"kdiag/mux/resumable"
)

// carrier is the connection below yamux: a resumable stream. yamux writes a frame's header and body
// separately; carrier has them sent together.
type carrier struct {
	link   *resumable.Stream
	guard  frameGuard
	inBody bool // the next Write is a frame's body
	// endConns ends the session's connections.
	endConns func()

	mu    sync.Mutex
	ended error // what Read ended with
}

func (c *carrier) Read(p []byte) (int, error) {
	n, err := c.link.Read(p)
	if refused := c.guard.check(p[:n]); refused != nil {
		n, err = 0, refused
	}
	if err != nil {
		c.mu.Lock()
		c.ended = err
		c.mu.Unlock()
		c.endConns() // before yamux closes: its readers spin while it does
	}
	return n, err
}

// readError returns what ended the stream, or nil.
func (c *carrier) readError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Write has whole frames sent. Only yamux's one writer calls it. It reports no error: yamux would
// close the link before all has been sent, while its own readers spin. Read ends soon, too.
func (c *carrier) Write(p []byte) (int, error) {
	_, _ = c.link.Write(p)

	c.inBody = !c.inBody && announcesBody(p)
	if !c.inBody {
		c.link.Flush()
	}
	return len(p), nil
}

// announcesBody reports whether a body follows a frame's header.
func announcesBody(header []byte) bool {
	return len(header) == frameHeaderSize && header[frameTypeAt] == frameData &&
		binary.BigEndian.Uint32(header[frameLengthAt:]) > 0
}

// Close never blocks: yamux's readers and writers spin until it returns. After the peer's end the
// link stays, to acknowledge it.
func (c *carrier) Close() error {
	if errors.Is(c.readError(), io.EOF) {
		return nil
	}
	return c.link.Close()
}
