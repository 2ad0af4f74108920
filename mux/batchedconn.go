package mux

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// batchedConn is the connection below yamux. It answers two of yamux's ways: a frame's
// header and body are two writes, each of which would become a TLS record and
// several SPDY frames, so writes are collected and sent together; and yamux
// does not say when it last heard from the peer, so the link notes it.
type batchedConn struct {
	net.Conn
	heard atomic.Int64 // Unix time in ns of the last bytes from the peer
	// budget, if not nil, is what the streams may hold; ended ends a wait for it.
	budget *readBudget
	ended  <-chan struct{}

	mu      sync.Mutex
	changed sync.Cond // pending grew or shrank, or err was set
	pending []byte
	inBody  bool // the next write is a frame's body
	urgent  bool // what is pending must leave
	delayed bool // a timer will have it leave
	err     error
	closing bool
	flushed chan struct{} // closed when the writer has ended
}

const (
	// maxPending bounds what a link collects, in bytes; a writer waits beyond
	// it, which is how a slow link slows its streams down.
	maxPending = 64 << 10
	// maxBatch is how much one write sends: several TLS records.
	maxBatch = 64 << 10
	// closeTimeout bounds the wait for a closed link's last bytes to be taken.
	closeTimeout = 2 * time.Second
)

func newBatchedConn(conn net.Conn, budget *readBudget, ended <-chan struct{}) *batchedConn {
	b := &batchedConn{Conn: conn, budget: budget, ended: ended, flushed: make(chan struct{})}
	b.changed.L = &b.mu
	b.heard.Store(time.Now().UnixNano())
	go b.writeLoop()
	return b
}

func (b *batchedConn) Read(p []byte) (int, error) {
	if b.budget != nil {
		b.budget.waitForRoom(b.ended)
	}

	n, err := b.Conn.Read(p)
	if n > 0 {
		b.heard.Store(time.Now().UnixNano())
		if b.budget != nil {
			b.budget.countReceived(p[:n])
		}
	}

	return n, err
}

// silentFor is how long nothing has come from the peer.
func (b *batchedConn) silentFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - b.heard.Load())
}

// Write takes p over and returns; an error is that of an earlier write.
func (b *batchedConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) > maxPending && b.err == nil && !b.closing {
		b.changed.Wait()
	}

	if b.err != nil {
		return 0, b.err
	}
	if b.closing {
		return 0, net.ErrClosed
	}

	b.pending = append(b.pending, p...)
	b.scheduleFlush(p)
	return len(p), nil
}

// scheduleFlush decides when what was just written must leave. It is called with mu
// held.
func (b *batchedConn) scheduleFlush(p []byte) {
	how := leaveNow
	if !b.inBody {
		how = readUrgency(p)
	}

	b.inBody = how == leaveWithBody
	switch how {
	case leaveNow:
		b.flushNow()
	case leaveSoon:
		if !b.delayed {
			b.delayed = true
			time.AfterFunc(ackDelay, func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.flushNow()
			})
		}
	}
}

// flushNow has what is pending leave. It is called with mu held.
func (b *batchedConn) flushNow() {
	b.urgent = true
	b.changed.Broadcast()
}

// How soon a frame must leave.
const (
	leaveNow      = iota
	leaveSoon     // for delay, in case something else leaves
	leaveWithNext // not before the next write, which comes at once
	leaveWithBody // as follows, and that is no frame but this one's body
)

// ackDelay is how long the acknowledgement of a new stream may wait. The stream
// itself waits for none, and the first bytes of an answer often follow.
const ackDelay = 5 * time.Millisecond

// readUrgency reads a frame's header (hashicorp/yamux, spec.md: version, type,
// flags, stream, length). A data frame's body is the next write, and so is the
// header of a stream that has just been opened.
func readUrgency(p []byte) int {
	const typeWindowUpdate, flagSYN, flagACK = 1, 1, 2
	if len(p) != frameHeaderSize {
		return leaveNow
	}

	flags := binary.BigEndian.Uint16(p[2:])
	switch {
	case p[1] == frameTypeData && binary.BigEndian.Uint32(p[8:]) > 0:
		return leaveWithBody
	case p[1] == typeWindowUpdate && flags == flagSYN:
		return leaveWithNext
	case p[1] == typeWindowUpdate && flags == flagACK:
		return leaveSoon
	}

	return leaveNow
}

func (b *batchedConn) writeLoop() {
	defer close(b.flushed)
	var batch []byte
	for {
		b.mu.Lock()
		for (!b.urgent || len(b.pending) == 0) && !b.closing && b.err == nil {
			b.changed.Wait()
		}

		if b.urgent && !b.closing {
			// Others that are about to write go along.
			b.mu.Unlock()
			runtime.Gosched()
			b.mu.Lock()
		}

		if len(b.pending) == 0 || b.err != nil {
			b.mu.Unlock()
			return
		}

		batch, b.pending = b.pending, batch[:0]
		b.urgent, b.delayed = false, false
		b.changed.Broadcast()
		b.mu.Unlock()

		if err := writeAll(b.Conn, batch); err != nil {
			b.mu.Lock()
			b.err = err
			b.changed.Broadcast()
			b.mu.Unlock()
			return
		}

		if cap(batch) > 2*maxBatch {
			batch = nil
		}
	}
}

func writeAll(conn net.Conn, batch []byte) error {
	for len(batch) > 0 {
		n, err := conn.Write(batch[:min(len(batch), maxBatch)])
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// Close sends what was written before, for closeTimeout at most, and closes
// the connection.
func (b *batchedConn) Close() error {
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		return nil
	}

	b.closing = true
	b.changed.Broadcast()
	b.mu.Unlock()
	select {
	case <-b.flushed:
	case <-time.After(closeTimeout):
	}

	err := b.Conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}

	return err
}
