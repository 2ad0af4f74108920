package resumable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// aheadSize is how much is read ahead of a frame's header: so a small frame takes one read of the
// connection, and of a large one little is copied twice.
const aheadSize = 512

// maxEmptyReads limits how often a connection may return nothing and no error.
const maxEmptyReads = 100

// frameReader takes the frames of one link apart.
type frameReader struct {
	link     *link
	left     int // bytes of the current data frame that have not been read
	ahead    [aheadSize]byte
	from, to int // ahead[from:to] has been read ahead
}

// next reads bytes of the stream into p, or one frame without such bytes, which it hands on, or the
// beginning of a data frame. Its error is the connection's; if n > 0, it comes after those bytes.
func (f *frameReader) next(p []byte) (n int, err error) {
	if f.left > 0 {
		return f.readPayload(p)
	}
	if err := f.fill(headerSize); err != nil {
		return 0, err
	}

	kind, length, err := parseHeader(f.take(headerSize))
	if err == nil {
		err = f.link.allow(kind)
	}
	if err != nil {
		f.link.breakProtocol(err)
		return 0, err
	}

	switch kind {
	case frameData:
		f.left = length
	case frameAck:
		if err := f.fill(ackSize); err != nil {
			return 0, err
		}
		f.link.takeAck(parseAck(f.take(ackSize)))
	case frameEnd:
		f.link.takeEnd()
	case framePace:
		if err := f.fill(paceSize); err != nil {
			return 0, err
		}
		f.link.takePace(binary.BigEndian.Uint32(f.take(paceSize)))
	}

	return 0, nil
}

// readPayload reads bytes of the current data frame: those that were read ahead, else straight from
// the connection.
func (f *frameReader) readPayload(p []byte) (n int, err error) {
	p = p[:min(len(p), f.left)]
	if f.from < f.to {
		n = copy(p, f.ahead[f.from:f.to])
		f.from += n
	} else {
		n, err = f.link.readConn(p)
	}

	f.left -= n
	return n, err
}

// take returns the next n bytes that were read ahead.
func (f *frameReader) take(n int) []byte {
	f.from += n
	return f.ahead[f.from-n : f.from]
}

// fill reads ahead until n bytes are there.
func (f *frameReader) fill(n int) error {
	if f.from > 0 {
		f.to = copy(f.ahead[:], f.ahead[f.from:f.to])
		f.from = 0
	}

	for f.to < n {
		got, err := f.link.readConn(f.ahead[f.to:])
		f.to += got
		if err != nil && f.to < n {
			if errors.Is(err, io.EOF) && f.to > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}

	return nil
}

// readConn reads from the connection and notes when something came.
func (c *link) readConn(p []byte) (n int, err error) {
	for range maxEmptyReads {
		c.inRead.Store(true)
		n, err = c.conn.Read(p)
		c.inRead.Store(false)

		if n > 0 {
			c.heard.Store(int64(c.stream.now()))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}

	return 0, io.ErrNoProgress
}

// allow refuses data and ends that come after the end.
func (c *link) allow(kind byte) error {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()

	if c.stream.link == c && c.stream.peerEnded && kind != frameAck {
		return fmt.Errorf("peer sent a frame of type %d after its end", kind)
	}
	return nil
}

// breakProtocol fails the stream if it still uses the link.
func (c *link) breakProtocol(err error) {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()

	c.breakProtocolLocked(err)
}

func (c *link) breakProtocolLocked(err error) {
	if c.stream.link == c {
		c.stream.failLocked(fmt.Errorf("resumable stream: %w", err))
	}
}
