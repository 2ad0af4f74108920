package mux

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the connection below yamux. It answers two of yamux's ways: a frame's
// header and body are two writes, each of which would become a TLS record and
// several SPDY frames, so writes are collected and sent together; and yamux
// does not say when it last heard from the peer, so the link notes it.
type link struct {
	net.Conn
	heard atomic.Int64 // Unix time in ns of the last bytes from the peer
	// budget, if not nil, is what the streams may hold; ended ends a wait for it.
	budget *budget
	ended  <-chan struct{}

	mu      sync.Mutex
	changed sync.Cond // pending grew or shrank, or err was set
	pending []byte
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

func newLink(conn net.Conn, b *budget, ended <-chan struct{}) *link {
	l := &link{Conn: conn, budget: b, ended: ended, flushed: make(chan struct{})}
	l.changed.L = &l.mu
	l.heard.Store(time.Now().UnixNano())
	go l.writeLoop()
	return l
}

func (l *link) Read(p []byte) (int, error) {
	if l.budget != nil {
		l.budget.wait(l.ended)
	}
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.heard.Store(time.Now().UnixNano())
		if l.budget != nil {
			l.budget.received(p[:n])
		}
	}
	return n, err
}

// silence is how long nothing has come from the peer.
func (l *link) silence() time.Duration {
	return time.Duration(time.Now().UnixNano() - l.heard.Load())
}

// Write takes p over and returns; an error is that of an earlier write.
func (l *link) Write(p []byte) (int, error) {
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
	if !announcesBody(p) {
		l.changed.Broadcast()
	}
	return len(p), nil
}

// announcesBody reports whether p is the header of a yamux data frame whose
// body is the next write (hashicorp/yamux, spec.md: version, type, flags,
// stream, length).
func announcesBody(p []byte) bool {
	return len(p) == frameHeaderSize && p[1] == frameTypeData && binary.BigEndian.Uint32(p[8:]) > 0
}

func (l *link) writeLoop() {
	defer close(l.flushed)
	var batch []byte
	for {
		l.mu.Lock()
		for len(l.pending) == 0 && !l.closing && l.err == nil {
			l.changed.Wait()
		}
		if len(l.pending) == 0 || l.err != nil {
			l.mu.Unlock()
			return
		}
		batch, l.pending = l.pending, batch[:0]
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
func (l *link) Close() error {
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
