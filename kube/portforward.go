package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"kdiag/mux/wire"

	mobyspdy "github.com/moby/spdystream/spdy"
	corev1 "k8s.io/api/core/v1"
)

// PortForward opens one connection, through the API server, to a TCP port on the loopback of a
// pod's network namespace: over a WebSocket (KEP-4006), or over SPDY if the server, or a proxy
// before it, does not support WebSockets. Nothing listens on this side. ctx and openTimeout
// limit only the opening. The caller closes the connection.
//
// Whoever has the connection must be reading it: only a Read notices what the server says, also
// that the connection is lost, and answers it. A Write goes to the server as one message, or
// several if it is longer than maxFrame, before it returns. Few and long ones are the fastest.
//
// If nothing listens on the port, the first Read says so, and so do Writes after it: the kubelet
// does not tell sooner. Read returns io.EOF only for the end of the data, never for a lost
// connection. A write deadline that passes during a Write ends the connection, because part of
// a frame is then on its way.
func (c *Cluster) PortForward(ctx context.Context, namespace, pod string, port uint16, openTimeout time.Duration) (net.Conn, error) {
	ctx, cancel := WithTimeout(ctx, openTimeout)
	defer cancel()

	doing := fmt.Sprintf("forward to port %d of pod %s/%s", port, namespace, pod)
	conn, err := callUnlessDone(ctx, func() (*forwardedConn, error) {
		return c.openForward(ctx, namespace, pod, port, doing)
	}, func(late *forwardedConn) { _ = late.Close() })
	if err != nil {
		return nil, c.explainError(ctx, doing, rightCreateForward.scopedTo(namespace, pod), err)
	}

	return conn, nil
}

// openForward connects to the pod and opens the two streams of one forwarded connection.
func (c *Cluster) openForward(ctx context.Context, namespace, pod string, port uint16, doing string) (*forwardedConn, error) {
	request := c.core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward")
	streams, err := c.dialStreams(ctx, request.URL())
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, streams.cutOff)()

	f := newForwardedConn(streams, doing, port)
	if err = f.openStreams(); err != nil {
		streams.closeOrCut()
		return nil, err
	}
	return f, nil
}

// The ids of the two streams of a forwarded connection.
const (
	errorStream = 1
	dataStream  = 3
)

// ErrConnectionLost reports a connection to the API server that neither side closed. It is an
// io.ErrUnexpectedEOF.
var ErrConnectionLost error = lostError{}

type lostError struct{}

func (lostError) Error() string { return "the connection to the API server was lost" }
func (lostError) Unwrap() error { return io.ErrUnexpectedEOF }

// errStreamReset reports a stream that the kubelet or the container runtime has broken off.
var errStreamReset = errors.New("the stream was reset without a reason")

// forwardedConn is the net.Conn that PortForward returns.
type forwardedConn struct {
	connection *streamConnection
	doing      string
	port       uint16

	readLock sync.Mutex // for received, and to read from the connection
	received forwardState

	closed    chan struct{}
	closeOnce sync.Once

	writeLock     sync.Mutex // keeps the frames of one Write together
	mu            sync.Mutex // for what follows
	failed        error      // why a Write fails, if the server has said so
	isWriting     bool
	writeDeadline time.Time // zero for none
	writeTimer    *time.Timer
	readDeadline  time.Time // zero for none
	settleUntil   time.Time // until when to wait for the error stream; zero if not waiting
}

// forwardState says what has arrived of a forwarded connection.
type forwardState struct {
	frame        spdyFrame // the one that is being read
	hasError     bool      // the error stream was accepted
	hasData      bool      // the data stream was accepted
	failure      []byte    // what the error stream says
	failureEnded bool
	dataEnd      error // why the data stream ended; nil if it has not
	end          error // what every further Read returns, once there is nothing to read
}

// newForwardedConn returns a forwarded connection whose streams are not open yet.
func newForwardedConn(s *streamConnection, doing string, port uint16) *forwardedConn {
	return &forwardedConn{connection: s, doing: doing, port: port, closed: make(chan struct{})}
}

// openStreams opens the two streams of a forwarded connection in a single round trip.
func (f *forwardedConn) openStreams() error {
	f.readLock.Lock()
	defer f.readLock.Unlock()

	requests, err := newStreams(f.streamHeaders(corev1.StreamTypeError), f.streamHeaders(corev1.StreamTypeData))
	if err == nil {
		err = f.connection.writeMessage(wsBinary, requests, nil)
	}
	if err == nil {
		err = f.awaitStreams()
	}
	if err != nil {
		return err
	}

	// This side has nothing to say on the error stream.
	header := newDataHeader(errorStream, 0, true)
	return f.connection.writeMessage(wsBinary, header[:], nil)
}

// streamHeaders returns the headers that open a stream.
func (f *forwardedConn) streamHeaders(kind string) http.Header {
	headers := http.Header{}
	headers.Set(corev1.StreamType, kind)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(f.port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	return headers
}

// awaitStreams reads until both streams are accepted. The answers come in any order, and all
// that the streams carry may come before them: the kubelet begins once it has both requests. So
// a stream that was reset was refused, unless the error stream says why, which Read tells.
func (f *forwardedConn) awaitStreams() error {
	r := &f.received
	for (!r.hasError || !r.hasData) && !r.frame.carriesData(dataStream) {
		_, err := f.readNext(nil)
		switch {
		case r.dataEnd != nil && len(r.failure) > 0:
			return nil
		case r.failureEnded && !r.hasError:
			return fmt.Errorf("open the error stream: %w", errStreamReset)
		case r.dataEnd != nil && !r.hasData && (err != nil || r.failureEnded):
			return fmt.Errorf("open the data stream: %w", errStreamReset) // and nobody says why
		case err != nil:
			return nameLoss(err)
		}
	}
	return nil
}

func (f *forwardedConn) Read(p []byte) (int, error) {
	f.readLock.Lock()
	defer f.readLock.Unlock()

	for len(p) > 0 && f.received.end == nil {
		if wire.IsClosed(f.closed) {
			return 0, net.ErrClosed
		}

		n, err := f.readNext(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			if err = f.handleReadError(err); err != nil {
				return 0, err
			}
		}
	}

	if wire.IsClosed(f.closed) {
		return 0, net.ErrClosed
	}
	return 0, f.received.end
}

// readNext reads the next piece of what the server sends: data into p, and all else into the
// connection's state.
func (f *forwardedConn) readNext(p []byte) (int, error) {
	r, frames := &f.received, &f.connection.frames
	switch {
	case r.frame.carriesData(dataStream) && frames.left > 0:
		return frames.readPayload(p)
	case r.frame.carriesData(errorStream) && frames.left > 0:
		return 0, f.readFailure()
	case r.frame.control == 0 && r.frame.last:
		f.endStream(r.frame.stream, io.EOF)
		r.frame = spdyFrame{}
		return 0, nil
	}

	next, err := frames.nextFrame()
	if err != nil {
		return 0, err
	}

	// After the data stream's end there is no more data of it.
	r.frame = spdyFrame{}
	if r.dataEnd == nil || next.stream != dataStream {
		r.frame = next
		f.handleFrame(next)
	}
	return 0, nil
}

// maxFailure limits how much of an error stream is kept, in bytes.
const maxFailure = 4 << 10

// readFailure reads a piece of the error stream.
func (f *forwardedConn) readFailure() error {
	var piece [512]byte
	n, err := f.connection.frames.readPayload(piece[:])
	f.received.failure = append(f.received.failure, piece[:min(n, maxFailure-len(f.received.failure))]...)
	return err
}

// handleFrame does what the header of a frame asks for: data, too, shows that its stream was
// accepted. It ignores the kinds that a port-forward can do without: a GOAWAY is followed by the
// end of the connection.
func (f *forwardedConn) handleFrame(frame spdyFrame) {
	r := &f.received
	switch frame.control {
	case 0, mobyspdy.TypeSynReply:
		r.hasError = r.hasError || frame.stream == errorStream
		r.hasData = r.hasData || frame.stream == dataStream
	case mobyspdy.TypeRstStream:
		f.endStream(frame.stream, errStreamReset)
	case mobyspdy.TypePing:
		// A client's pings are odd, so that this is the answer to one.
		if frame.stream%2 == 0 {
			f.connection.answer(wsBinary, newControlFrame(mobyspdy.TypePing, frame.stream))
		}
	}

	if frame.last && (frame.control == mobyspdy.TypeSynReply || frame.control == mobyspdy.TypeHeaders) {
		f.endStream(frame.stream, io.EOF)
	}
}

// failureWait limits how much later than the data stream the error stream may end.
const failureWait = 500 * time.Millisecond

// endStream notes that a stream has ended. The end of the data is known once the error stream
// has ended, too, which may take another moment.
func (f *forwardedConn) endStream(stream uint32, why error) {
	r := &f.received
	switch {
	case stream == errorStream:
		r.failureEnded = true
		if len(r.failure) > 0 {
			f.failWrites(f.explainFailure())
		}
	case stream == dataStream && r.dataEnd == nil:
		r.dataEnd = why
		f.settle(time.Now().Add(failureWait))
	}

	if r.dataEnd != nil && r.failureEnded {
		f.endReading()
	}
}

// endReading has Reads return from now on why there is no more data. Without an end of the data
// stream the connection is lost.
func (f *forwardedConn) endReading() {
	f.settle(time.Time{})
	r := &f.received
	switch {
	case len(r.failure) > 0:
		r.end = f.explainFailure()
	case r.dataEnd == io.EOF: //nolint:errorlint // it is our own
		r.end = io.EOF
		return
	case r.dataEnd != nil:
		r.end = &Error{Doing: f.doing, Err: r.dataEnd}
	default:
		r.end = &Error{Doing: f.doing, Err: ErrConnectionLost}
	}

	f.failWrites(r.end)
}

// explainFailure returns what the error stream said.
func (f *forwardedConn) explainFailure() error {
	return &Error{Doing: f.doing, Err: errors.New(string(f.received.failure)),
		Next: fmt.Sprintf("check that something in the pod listens on 127.0.0.1:%d", f.port)}
}

// handleReadError returns what Read returns when it could not read. It returns nil if there is
// nothing more to read, so that every Read returns the same from now on.
func (f *forwardedConn) handleReadError(err error) error {
	f.mu.Lock()
	isSettled := !f.settleUntil.IsZero() && time.Until(f.settleUntil) <= 0
	f.mu.Unlock()

	var broken protocolError
	switch {
	case wire.IsClosed(f.closed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded) && !isSettled:
		return os.ErrDeadlineExceeded
	case errors.As(err, &broken) && f.received.dataEnd == nil:
		f.received.dataEnd = broken
	}

	if !errors.Is(err, os.ErrDeadlineExceeded) {
		f.connection.cutOff()
	}
	f.endReading()
	return nil
}

// nameLoss returns the error of a connection that failed below.
func nameLoss(err error) error {
	var broken protocolError
	if errors.As(err, &broken) {
		return broken
	}
	return ErrConnectionLost
}

// failWrites has Writes fail from now on, with the first of several errors.
func (f *forwardedConn) failWrites(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
	}
}

// maxFrame limits the data in a SPDY frame, and so what the container runtime must hold at once.
// With the headers of the frame and of the WebSocket, 8 bytes each, it fills four records of TLS.
const maxFrame = 4*(16<<10) - spdyHeaderSize - 8

func (f *forwardedConn) Write(p []byte) (int, error) {
	f.writeLock.Lock()
	defer f.writeLock.Unlock()

	written := 0
	for written < len(p) {
		if err := f.beginWrite(); err != nil {
			return written, err
		}

		piece := p[written:min(len(p), written+maxFrame)]
		header := newDataHeader(dataStream, len(piece), false)
		err := f.endWrite(f.connection.writeMessage(wsBinary, header[:], piece))
		if err != nil {
			return written, err
		}
		written += len(piece)
	}

	return written, nil
}

// beginWrite returns the error of a Write that may not begin, and notes that one has begun.
func (f *forwardedConn) beginWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case wire.IsClosed(f.closed):
		return net.ErrClosed
	case f.failed != nil:
		return f.failed
	case f.isOverdue():
		return os.ErrDeadlineExceeded
	}

	f.isWriting = true
	return nil
}

// endWrite notes the end of a Write, and says why it failed.
func (f *forwardedConn) endWrite(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isWriting = false

	switch {
	case err == nil:
		return nil
	case wire.IsClosed(f.closed):
		return net.ErrClosed
	case f.isOverdue():
		return os.ErrDeadlineExceeded
	case f.failed != nil:
		return f.failed
	case errors.Is(err, net.ErrClosed): // a Read has found that it is lost
		err = ErrConnectionLost
	}

	return &Error{Doing: f.doing, Err: err}
}

// isOverdue reports whether the write deadline has passed. The caller holds mu.
func (f *forwardedConn) isOverdue() bool {
	return !f.writeDeadline.IsZero() && time.Until(f.writeDeadline) <= 0
}

// SetWriteDeadline sets the deadline for Writes. It cuts the connection off if a Write is under
// way when the deadline passes.
func (f *forwardedConn) SetWriteDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writeTimer != nil {
		f.writeTimer.Stop()
	}

	f.writeDeadline, f.writeTimer = time.Time{}, nil
	if t.IsZero() || wire.IsClosed(f.closed) {
		return nil
	}

	left := time.Until(t)
	f.writeDeadline = time.Now().Add(left) // by the monotonic clock, as the timer
	f.writeTimer = time.AfterFunc(left, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.isWriting && f.isOverdue() {
			f.connection.cutOff()
		}
	})

	return nil
}

func (f *forwardedConn) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readDeadline = t
	return f.applyReadDeadline()
}

// settle ends a Read at a time, even without a deadline, because it waits for the error stream.
// Zero is for not any more.
func (f *forwardedConn) settle(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settleUntil = until
	_ = f.applyReadDeadline()
}

// applyReadDeadline sets the earliest of the connection's deadlines. The caller holds mu.
func (f *forwardedConn) applyReadDeadline() error {
	if wire.IsClosed(f.closed) {
		return nil // Close has set the last one
	}

	at := f.readDeadline
	if at.IsZero() || !f.settleUntil.IsZero() && f.settleUntil.Before(at) {
		at = f.settleUntil
	}
	return f.connection.SetReadDeadline(at)
}

func (f *forwardedConn) SetDeadline(t time.Time) error {
	return errors.Join(f.SetReadDeadline(t), f.SetWriteDeadline(t))
}

// Close ends both streams and the connection to the API server. It sends first what was written
// before.
func (f *forwardedConn) Close() error {
	f.closeOnce.Do(func() {
		f.mu.Lock()
		close(f.closed)
		_ = f.connection.SetReadDeadline(time.Unix(1, 0)) // ends a Read
		f.mu.Unlock()

		_ = f.SetWriteDeadline(time.Time{})
		f.connection.closeOrCut(newControlFrame(mobyspdy.TypeRstStream, dataStream, uint32(mobyspdy.Cancel)))
	})
	return nil
}

func (f *forwardedConn) LocalAddr() net.Addr  { return f.connection.LocalAddr() }
func (f *forwardedConn) RemoteAddr() net.Addr { return f.connection.RemoteAddr() }
