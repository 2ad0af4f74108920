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

// batchedConn is the connection below yamux. It makes up for two things. yamux writes a frame's
// header and body separately, and each Write would become a TLS record and several SPDY frames:
// batchedConn collects Writes and sends them together. And yamux does not tell when it last heard
// from the peer: batchedConn notes it.
type batchedConn struct {
	net.Conn
	heard atomic.Int64 // Unix time in ns of the last bytes from the peer
	// budget, unless it is nil, holds up Read while it is spent; ended ends that wait.
	budget *readBudget
	ended  <-chan struct{}

	mu      sync.Mutex
	changed sync.Cond // pending grew or shrank, or err was set
	pending []byte
	inBody  bool // the next Write is a frame's body
	urgent  bool // pending must be sent now
	delayed bool // a timer will make it urgent
	err     error
	closing bool
	flushed chan struct{} // closed when writeLoop has ended
}

const (
	// maxPending limits what is collected, in bytes. A Write waits while more is pending: so
	// a slow connection slows its streams down.
	maxPending = 64 << 10
	// maxBatch limits what is written to the connection at once: several TLS records.
	maxBatch = 64 << 10
	// closeTimeout limits how long Close waits until the last bytes are sent.
	closeTimeout = 2 * time.Second
)

// newBatchedConn begins to send what is written to it on conn.
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

// silentFor returns how long nothing has come from the peer.
func (b *batchedConn) silentFor() time.Duration {
	return time.Duration(time.Now().UnixNano() - b.heard.Load())
}

// Write copies p, to be sent later. Its error is that of an earlier Write.
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

// scheduleFlush decides when p, which was just written, must be sent. The caller holds mu.
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

// flushNow makes writeLoop send what is pending. The caller holds mu.
func (b *batchedConn) flushNow() {
	b.urgent = true
	b.changed.Broadcast()
}

// These say how soon a frame must be sent.
const (
	leaveNow      = iota
	leaveSoon     // after ackDelay, or with the next one that is sent
	leaveWithNext // together with the next Write, which comes at once
	leaveWithBody // together with the next Write, which is its body
)

// ackDelay is how long the acknowledgement of a new stream waits for the first bytes of an answer,
// which often follow. Nobody waits for the acknowledgement itself.
const ackDelay = 5 * time.Millisecond

// readUrgency says how soon a frame must be sent, by its header. The next Write after a data
// frame's header is its body. The next one after the frame that opens a stream is the stream's
// kdiag Header.
func readUrgency(p []byte) int {
	if len(p) != frameHeaderSize {
		return leaveNow
	}

	flags := binary.BigEndian.Uint16(p[frameFlagsAt:])
	switch {
	case p[frameTypeAt] == frameData && binary.BigEndian.Uint32(p[frameLengthAt:]) > 0:
		return leaveWithBody
	case p[frameTypeAt] == frameWindowUpdate && flags == frameSYN:
		return leaveWithNext
	case p[frameTypeAt] == frameWindowUpdate && flags == frameACK:
		return leaveSoon
	}

	return leaveNow
}

// writeLoop sends what is pending whenever it is urgent, until the connection is closed or a write
// fails.
func (b *batchedConn) writeLoop() {
	defer close(b.flushed)

	var batch []byte
	for {
		var ok bool
		if batch, ok = b.takeBatch(batch[:0]); !ok {
			return
		}

		if err := writeAll(b.Conn, batch); err != nil {
			b.fail(err)
			return
		}

		// Free a buffer that has grown beyond what is usual.
		if cap(batch) > 2*maxBatch {
			batch = nil
		}
	}
}

// takeBatch waits until something must be sent and returns all that is pending. It leaves empty in
// its place, to be filled next. It returns false if the connection has been closed or has failed.
func (b *batchedConn) takeBatch(empty []byte) (batch []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()

	for (!b.urgent || len(b.pending) == 0) && !b.closing && b.err == nil {
		b.changed.Wait()
	}

	// Let others that are about to write join the batch.
	if b.urgent && !b.closing {
		b.mu.Unlock()
		runtime.Gosched()
		b.mu.Lock()
	}

	if len(b.pending) == 0 || b.err != nil {
		return nil, false
	}

	batch, b.pending = b.pending, empty
	b.urgent, b.delayed = false, false
	b.changed.Broadcast()

	return batch, true
}

// fail makes later Writes return an error.
func (b *batchedConn) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.err = err
	b.changed.Broadcast()
}

// writeAll writes a batch in pieces of maxBatch.
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

// Close closes the connection, after it has sent what was written before or closeTimeout has
// passed.
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
