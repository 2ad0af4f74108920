package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errAborted is returned by an endpoint that this side has reset.
var errAborted = errors.New("connection aborted")

// TCP makes a TCP connection an Endpoint.
type TCP struct {
	*net.TCPConn
	raw      syscall.RawConn // nil if the connection was closed from the start
	patience time.Duration   // how long a reset waits while nothing is delivered

	aborted     atomic.Bool
	gone        chan struct{} // closed when Reset has closed the connection
	writeClosed atomic.Bool   // CloseWrite was called

	writing sync.Mutex  // held by Write
	failed  atomic.Bool // a Write has reported the reset, which the kernel does only once

	lazy lazyRead
}

// NewTCP makes an Endpoint of a connection, and owns it. Until Close, whatever ends the
// connection resets it (SO_LINGER of 0, socket(7)): if this process is killed, the peer must
// not take that for the end of the data.
func NewTCP(conn *net.TCPConn) *TCP {
	_ = conn.SetLinger(0)
	t := &TCP{TCPConn: conn, patience: resetPatience, gone: make(chan struct{})}
	if raw, err := conn.SyscallConn(); err == nil {
		t.raw = raw
	}

	t.prepareLazyRead()
	return t
}

// Reset closes the connection with a TCP reset, once the peer's kernel has what was written
// before: the reset of the kernel's own drops what it has not sent yet.
func (t *TCP) Reset() {
	if t.aborted.Swap(true) {
		return
	}

	_ = t.SetDeadline(time.Unix(1, 0)) // ends Read and Write
	if t.undelivered().queued == 0 {
		t.closeAborted()
		return
	}

	go t.closeDelivered()
}

// Abort closes the connection with a TCP reset at once, even if Reset still waits.
func (t *TCP) Abort() {
	if !t.aborted.Swap(true) {
		defer close(t.gone)
	}
	_ = t.TCPConn.Close()
}

// closeAborted closes the connection, and lets Close return.
func (t *TCP) closeAborted() {
	_ = t.TCPConn.Close()
	close(t.gone)
}

// delivery says how far the peer's kernel has taken what was written.
type delivery struct {
	queued int    // bytes that it has not
	taken  uint64 // bytes that it has, or something else that grows with them
}

// maxDeliveryPause is the longest time between two looks at the send queue.
const maxDeliveryPause = 50 * time.Millisecond

// closeDelivered closes the connection when all is delivered, or nothing has been for too long.
func (t *TCP) closeDelivered() {
	defer t.closeAborted()

	var last uint64
	since := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, maxDeliveryPause) {
		now := t.undelivered()
		if now.taken != last {
			last, since = now.taken, time.Now()
		}
		if now.queued == 0 || time.Since(since) > t.patience {
			return
		}
		time.Sleep(pause)
	}
}

// Close closes the connection, and leaves it to the kernel to deliver what was written. After a
// Reset it waits until that is done.
func (t *TCP) Close() error {
	if t.aborted.Load() {
		<-t.gone
		return nil
	}

	_ = t.SetLinger(-1)
	return t.TCPConn.Close()
}

func (t *TCP) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	return n, t.translateReadError(err)
}

func (t *TCP) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()

	n, err := t.TCPConn.Write(p)
	if reportsReset(err) {
		t.failed.Store(true)
	}

	return n, t.translateError(err)
}

// reportsReset reports whether an error is the kernel's report of a reset. It is EPIPE if the
// peer had ended its data before: then Read may say so.
func reportsReset(err error) bool {
	if err == nil { // most often, and without an allocation
		return false
	}

	var number syscall.Errno
	return errors.As(err, &number) && !errors.Is(number, syscall.EPIPE)
}

// CloseWrite sends the end of the data.
func (t *TCP) CloseWrite() error {
	t.writeClosed.Store(true)
	return t.translateError(t.TCPConn.CloseWrite())
}

// translateError returns errAborted for any error after Reset.
func (t *TCP) translateError(err error) error {
	if err != nil && t.aborted.Load() {
		return errAborted
	}
	return err
}

// translateReadError also finds an end that is none: the kernel reports a reset to one call
// only, and to the others an end.
func (t *TCP) translateReadError(err error) error {
	err = t.translateError(err)
	if errors.Is(err, io.EOF) && t.wasReset() {
		return fmt.Errorf("read %s: %w", t.RemoteAddr(), ErrReset)
	}
	return err
}

// wasReset reports whether a Write has learnt of a reset. One that is under way may have taken the
// report and not returned yet; on a connection that is dead it does at once.
func (t *TCP) wasReset() bool {
	if !t.failed.Load() && t.isDead() {
		t.writing.Lock()
		defer t.writing.Unlock()
	}
	return t.failed.Load()
}

// isDead reports whether the kernel has given the connection up: it was reset, or both sides have
// ended it.
func (t *TCP) isDead() bool {
	dead := false
	if t.raw != nil {
		_ = t.raw.Control(func(fd uintptr) { dead = isDeadSocket(int(fd)) })
	}
	return dead
}

// undelivered asks the kernel what the peer's has not acknowledged.
func (t *TCP) undelivered() delivery {
	var d delivery
	if t.raw != nil {
		_ = t.raw.Control(func(fd uintptr) { d = socketDelivery(int(fd)) })
	}
	return d
}
