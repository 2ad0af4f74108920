package mux

import (
	"errors"
	"net"
	"sync/atomic"
)

// errAborted is returned by an endpoint that this side has reset.
var errAborted = errors.New("connection aborted")

// TCP makes a TCP connection an Endpoint.
type TCP struct {
	*net.TCPConn
	aborted atomic.Bool
}

// NewTCP makes an Endpoint of a connection, and owns it. Until Close, whatever ends the
// connection resets it (SO_LINGER of 0, socket(7)): if this process is killed, the peer must
// not take that for the end of the data.
func NewTCP(conn *net.TCPConn) *TCP {
	_ = conn.SetLinger(0)
	return &TCP{TCPConn: conn}
}

// Reset closes the connection with a TCP reset.
func (t *TCP) Reset() {
	if !t.aborted.Swap(true) {
		_ = t.TCPConn.Close()
	}
}

// Close closes the connection, and leaves it to the kernel to deliver what was written.
func (t *TCP) Close() error {
	if t.aborted.Load() {
		return nil
	}

	_ = t.SetLinger(-1)
	return t.TCPConn.Close()
}

func (t *TCP) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	return n, t.translateError(err)
}

func (t *TCP) Write(p []byte) (int, error) {
	n, err := t.TCPConn.Write(p)
	return n, t.translateError(err)
}

// CloseWrite sends the end of the data.
func (t *TCP) CloseWrite() error { return t.translateError(t.TCPConn.CloseWrite()) }

// translateError returns errAborted for any error after Reset.
func (t *TCP) translateError(err error) error {
	if err != nil && t.aborted.Load() {
		return errAborted
	}
	return err
}

// Shrink does nothing: the buffers are the kernel's.
func (t *TCP) Shrink() {}
