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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/streaming/pkg/httpstream"
)

// PortForward opens one connection, through the API server, to a TCP port on the loopback of a
// pod's network namespace: over a WebSocket (KEP-4006), or over SPDY if the server, or a proxy
// before it, does not support WebSockets. Nothing listens on this side. ctx and openTimeout
// limit only the opening. The caller closes the connection.
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

	failure, data, err := streams.openStreamPair(port)
	if err == nil {
		// This side has nothing to say on the error stream.
		err = failure.Close()
	}

	if err != nil {
		streams.closeOrCut()
		return nil, err
	}

	return newForwardedConn(streams, data, failure, doing, port), nil
}

// openStreamPair opens the two streams of one forwarded connection in a single round trip.
func (s *streamConnection) openStreamPair(port uint16) (failure, data httpstream.Stream, err error) {
	type made struct {
		kind   string
		stream httpstream.Stream
		err    error
	}

	answers := make(chan made, 2)
	for _, kind := range []string{corev1.StreamTypeError, corev1.StreamTypeData} {
		headers := http.Header{}
		headers.Set(corev1.StreamType, kind)
		headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
		headers.Set(corev1.PortForwardRequestIDHeader, "0")
		go func() {
			// Without an answer it ends after 30 s, even if the connection is lost.
			stream, err := s.CreateStream(headers)
			answers <- made{kind, stream, err}
		}()
	}

	for range 2 {
		select {
		case answer := <-answers:
			switch {
			case answer.err != nil:
				return nil, nil, fmt.Errorf("open the %s stream: %w", answer.kind, answer.err)
			case answer.kind == corev1.StreamTypeError:
				failure = answer.stream
			default:
				data = answer.stream
			}
		case <-s.CloseChan():
			return nil, nil, errConnectionLost
		}
	}

	return failure, data, nil
}

// errConnectionLost reports a connection that neither side closed.
var errConnectionLost = fmt.Errorf("the connection to the API server was lost: %w", io.ErrUnexpectedEOF)

// forwardedConn is the net.Conn that PortForward returns.
type forwardedConn struct {
	connection *streamConnection
	data       httpstream.Stream
	doing      string
	port       uint16

	// incoming is a pipe that copyData fills from the data stream: it has the deadlines that
	// a SPDY stream lacks. endReason says why it ended, once it has.
	incoming  net.Conn
	endReason error

	// errorStreamRead is closed when the error stream has ended. What it said is then in
	// failed.
	errorStreamRead chan struct{}
	failed          error

	closed    chan struct{}
	closeOnce sync.Once

	writeLock     sync.Mutex // keeps the frames of one Write together
	mu            sync.Mutex
	isWriting     bool
	writeDeadline time.Time // zero for none
	writeTimer    *time.Timer
}

// newForwardedConn begins to read both streams of a forwarded connection.
func newForwardedConn(s *streamConnection, data, failure httpstream.Stream, doing string, port uint16) *forwardedConn {
	incoming, received := net.Pipe()
	f := &forwardedConn{
		connection: s, data: data, doing: doing, port: port, incoming: incoming,
		errorStreamRead: make(chan struct{}), closed: make(chan struct{}),
	}

	go f.readErrorStream(failure)
	go f.copyData(received)

	return f
}

// maxFailure limits how much of an error stream is read, in bytes.
const maxFailure = 4 << 10

// readErrorStream reads the error stream to its end, and keeps what it says.
func (f *forwardedConn) readErrorStream(failure io.Reader) {
	defer close(f.errorStreamRead)

	if text, _ := io.ReadAll(io.LimitReader(failure, maxFailure)); len(text) > 0 {
		f.failed = &Error{Doing: f.doing, Err: errors.New(string(text)),
			Next: fmt.Sprintf("check that something in the pod listens on 127.0.0.1:%d", f.port)}
	}
}

// copyData copies the data stream into the pipe that Read reads.
func (f *forwardedConn) copyData(to net.Conn) {
	_, _ = io.Copy(to, f.data)
	f.endReason = f.findEndReason()
	_ = to.Close()
}

// failureWait limits how much later than the data stream the error stream may end.
const failureWait = 500 * time.Millisecond

// findEndReason finds out why the data stream ended. The error stream may tell a moment later.
func (f *forwardedConn) findEndReason() error {
	lost := isClosed(f.connection.CloseChan())
	select {
	case <-f.errorStreamRead:
	case <-time.After(failureWait):
	case <-f.closed:
	}

	switch {
	case isClosed(f.closed):
		return net.ErrClosed
	case isClosed(f.errorStreamRead) && f.failed != nil:
		return f.failed
	case lost:
		return &Error{Doing: f.doing, Err: errConnectionLost}
	}

	return io.EOF
}

func (f *forwardedConn) Read(p []byte) (int, error) {
	n, err := f.incoming.Read(p)
	switch {
	case errors.Is(err, io.ErrClosedPipe):
		err = net.ErrClosed
	case errors.Is(err, io.EOF):
		err = f.endReason
	}
	return n, err
}

// maxFrame limits the data in a SPDY frame, and so what the other side must hold at once. Above
// 16 MiB spdystream refuses to write.
const maxFrame = 32 << 10

func (f *forwardedConn) Write(p []byte) (int, error) {
	f.writeLock.Lock()
	defer f.writeLock.Unlock()

	written := 0
	for written < len(p) {
		if err := f.beginWrite(); err != nil {
			return written, err
		}

		n, err := f.data.Write(p[written:min(len(p), written+maxFrame)])
		written += n
		if err = f.endWrite(err); err != nil {
			return written, err
		}
	}

	return written, nil
}

// beginWrite returns the error of a Write that may not begin, and notes that one has begun.
func (f *forwardedConn) beginWrite() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case isClosed(f.closed):
		return net.ErrClosed
	case isClosed(f.errorStreamRead) && f.failed != nil:
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
	case isClosed(f.closed):
		return net.ErrClosed
	case f.isOverdue():
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF): // spdystream returns it for a connection that is gone
		err = errConnectionLost
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
	if t.IsZero() || isClosed(f.closed) {
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

func (f *forwardedConn) SetReadDeadline(t time.Time) error { return f.incoming.SetReadDeadline(t) }

func (f *forwardedConn) SetDeadline(t time.Time) error {
	return errors.Join(f.SetReadDeadline(t), f.SetWriteDeadline(t))
}

// Close ends both streams and the connection to the API server. It sends first what was written
// before.
func (f *forwardedConn) Close() error {
	f.closeOnce.Do(func() {
		close(f.closed)
		_ = f.SetWriteDeadline(time.Time{})
		_ = f.incoming.Close()
		f.connection.closeOrCut()
	})
	return nil
}

func (f *forwardedConn) LocalAddr() net.Addr  { return f.connection.raw.LocalAddr() }
func (f *forwardedConn) RemoteAddr() net.Addr { return f.connection.raw.RemoteAddr() }

// isClosed reports whether a channel is closed.
func isClosed[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
