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

func newBatchedConn(conn net.Conn, b *readBudget, ended <-chan struct{}) *batchedConn {
	l := &batchedConn{Conn: conn, budget: b, ended: ended, flushed: make(chan struct{})}
	l.changed.L = &l.mu
	l.heard.Store(time.Now().UnixNano())
	go l.writeLoop()
	return l
}

func (l *batchedConn) Read(p []byte) (int, error) {
	if l.budget != nil {
		l.budget.waitForRoom(l.ended)
	}

	n, err := l.Conn.Read(p)
	if n > 0 {
		l.heard.Store(time.Now().UnixNano())
		if l.budget != nil {
			l.budget.countReceived(p[:n])
		}
	}

	return n, err
}

// silentFor is how long nothing has come from the peer.
func (l *batchedConn) silentFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - l.heard.Load())
}

// Write takes p over and returns; an error is that of an earlier write.
func (l *batchedConn) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) > maxPending && l.err == nil && !l.closing {
		l.changed.Wait()
	}

	if l.err != nil {
		return 0, l.err
	}
	if l.closing {
		return 0, net.ErrClosed
	}

	l.pending = append(l.pending, p...)
	l.scheduleFlush(p)
	return len(p), nil
}

// scheduleFlush decides when what was just written must leave. It is called with mu
// held.
func (l *batchedConn) scheduleFlush(p []byte) {
	how := leaveNow
	if !l.inBody {
		how = readUrgency(p)
	}

	l.inBody = how == leaveWithBody
	switch how {
	case leaveNow:
		l.flushNow()
	case leaveSoon:
		if !l.delayed {
			l.delayed = true
			time.AfterFunc(ackDelay, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.flushNow()
			})
		}
	}
}

// flushNow has what is pending leave. It is called with mu held.
func (l *batchedConn) flushNow() {
	l.urgent = true
	l.changed.Broadcast()
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

func (l *batchedConn) writeLoop() {
	defer close(l.flushed)
	var batch []byte
	for {
		l.mu.Lock()
		for (!l.urgent || len(l.pending) == 0) && !l.closing && l.err == nil {
			l.changed.Wait()
		}

		if l.urgent && !l.closing {
			// Others that are about to write go along.
			l.mu.Unlock()
			runtime.Gosched()
			l.mu.Lock()
		}

		if len(l.pending) == 0 || l.err != nil {
			l.mu.Unlock()
			return
		}

		batch, l.pending = l.pending, batch[:0]
		l.urgent, l.delayed = false, false
		l.changed.Broadcast()
		l.mu.Unlock()

		if err := writeAll(l.Conn, batch); err != nil {
			l.mu.Lock()
			l.err = err
			l.changed.Broadcast()
			l.mu.Unlock()
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
func (l *batchedConn) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return nil
	}

	l.closing = true
	l.changed.Broadcast()
	l.mu.Unlock()
	select {
	case <-l.flushed:
	case <-time.After(closeTimeout):
	}

	err := l.Conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}

	return err
}
