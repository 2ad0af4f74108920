package mux

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// signalKind says what a signal means. What yamux does not have travels as signals, on a stream of
// their own, in order: SPEC.md, "Signals".
type signalKind byte

const (
	// signalOpen begins a connection on a stream. Its value has two credits (see openValue), and
	// the connection's header follows.
	signalOpen signalKind = 1 + iota
	// signalCredit lets the peer send so many bytes of the connection in all.
	signalCredit
	// signalEnd ends this side's data, after so many bytes.
	signalEnd
	// signalReset breaks the connection off: this side sent so many bytes, and takes none.
	signalReset
	// signalFree says that the side that did not open the connection is done with it, and the
	// stream can carry another.
	signalFree
	// signalDrop says that the opener uses the stream no more.
	signalDrop
	// signalRevoke asks the peer to send no more than so many bytes in all, if it has not yet.
	signalRevoke
	// signalRevoked answers it: so many bytes in all are what the peer will send at most.
	signalRevoked
	// signalInitial tells the opener what credit new connections begin with, in bytes.
	signalInitial
)

// signalSize is the length of a signal, in bytes: the kind, three zeros, the stream, the value. The
// header of a signalOpen comes on top.
const signalSize = 16

type signal struct {
	kind   signalKind
	stream uint32
	value  uint64
	header []byte // of a signalOpen
}

// appendTo encodes the signal.
func (s signal) appendTo(b []byte) []byte {
	b = append(b, byte(s.kind), 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, s.stream)
	b = binary.BigEndian.AppendUint64(b, s.value)
	return append(b, s.header...)
}

// readSignal reads one signal. The header is valid until the next call with the same buffer.
func readSignal(r io.Reader, buffer *[signalSize + HeaderSize]byte) (signal, error) {
	fixed := buffer[:signalSize]
	if _, err := io.ReadFull(r, fixed); err != nil {
		return signal{}, err
	}

	s := signal{
		kind:   signalKind(fixed[0]),
		stream: binary.BigEndian.Uint32(fixed[4:]),
		value:  binary.BigEndian.Uint64(fixed[8:]),
	}
	if s.kind != signalOpen {
		return s, nil
	}

	s.header = buffer[signalSize:]
	_, err := io.ReadFull(r, s.header)
	return s, forbidEOF(err)
}

// openValue packs the value of a signalOpen: how many bytes the peer may send at first, and how
// many the opener sends at first, as the peer's signalInitial allowed.
func openValue(granted, taken uint32) uint64 { return uint64(granted)<<32 | uint64(taken) }

func splitOpenValue(value uint64) (granted, taken uint32) { return uint32(value >> 32), uint32(value) }

// signalQueue sends signals in the order of put. Whoever flushes first writes for all others who put
// meanwhile, so that many signals become one frame.
type signalQueue struct {
	mu      sync.Mutex
	stream  net.Conn
	pending []byte
	spare   []byte
	writing bool
	written sync.Cond // a batch was written, or writing has ended
}

// put adds a signal, which flush sends.
func (q *signalQueue) put(s signal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = s.appendTo(q.pending)
}

// flush sends what was put, unless another flush is about to.
func (q *signalQueue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writing {
		return
	}

	q.writing = true
	defer func() { q.writing = false; q.written.Broadcast() }()

	for len(q.pending) > 0 {
		batch := q.pending
		q.pending, q.spare = q.spare[:0], nil
		q.mu.Unlock()
		err := q.write(batch)
		q.mu.Lock()

		q.written.Broadcast()
		if cap(batch) <= maxSpare {
			q.spare = batch[:0]
		}
		if err != nil {
			q.pending = nil // the session has ended
			return
		}
	}
}

// write writes signals in pieces that a frame can hold.
func (q *signalQueue) write(batch []byte) error {
	for piece := range slices.Chunk(batch, maxPiece) {
		if _, err := q.stream.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// flushBounded is flush for the answers to the peer's signals: it waits while many of them are
// left, so that a peer that asks and does not read makes nothing grow.
func (q *signalQueue) flushBounded() {
	q.flush()

	q.mu.Lock()
	defer q.mu.Unlock()
	for q.writing && len(q.pending) > maxPending {
		q.written.Wait()
	}
}

// maxPending is how many bytes of signals may wait until answers wait, too.
const maxPending = 256 << 10

// awaitWritten waits until a flush that is under way is over, or until ctx ends.
func (q *signalQueue) awaitWritten(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.written.Broadcast()
	})
	defer stop()

	q.mu.Lock()
	defer q.mu.Unlock()
	for q.writing && ctx.Err() == nil {
		q.written.Wait()
	}
}

// maxSpare is the largest buffer that a signalQueue keeps, in bytes.
const maxSpare = 16 << 10

// readSignals obeys the peer's signals until the session ends.
func (s *Session) readSignals() {
	defer close(s.signalsOver)
	reader := bufio.NewReader(s.signals.stream)
	var buffer [signalSize + HeaderSize]byte
	for {
		received, err := readSignal(reader, &buffer)
		if err == nil {
			err = s.handleSignal(received)
		}
		if err != nil {
			s.endBroken("read the signals", err)
			return
		}

		// What many signals bring about is sent at once.
		if reader.Buffered() < signalSize {
			s.signals.flushBounded()
		}
	}
}

// handleSignal acts on one of the peer's signals. It does not block. An error ends the session:
// the peer has broken the protocol.
func (s *Session) handleSignal(received signal) error {
	switch received.kind {
	case signalOpen:
		return s.handleOpen(received)
	case signalDrop:
		return s.handleDrop(received.stream)
	case signalInitial:
		s.peerInitial.Store(uint32(min(received.value, maxInitial)))
		return nil
	}

	conn := s.findConn(received.stream)
	if conn == nil {
		return nil // of a connection that is over on this side
	}

	switch received.kind {
	case signalCredit:
		return conn.handleCredit(received.value)
	case signalEnd, signalReset:
		return conn.handleFinal(received.kind, received.value)
	case signalFree:
		return conn.handleFree()
	case signalRevoke:
		conn.handleRevoke(received.value)
	case signalRevoked:
		return conn.handleRevoked(received.value)
	}

	return nil // an unknown kind is of a later version that knows what older ones ignore
}

// endBroken ends the session after the peer has broken the protocol, or the streams have ended.
func (s *Session) endBroken(doing string, err error) {
	if s.yamux.IsClosed() {
		return // watchStreams ends the session
	}
	if errors.Is(err, io.EOF) {
		err = errStreamsEnded
	}
	s.endSession(fmt.Errorf("%s: %w", doing, err))
}
