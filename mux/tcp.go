package mux

import (
	"errors"
	"net"
	"sync/atomic"
)

// errAborted is what an endpoint answers after this side's own Reset.
var errAborted = errors.New("connection aborted")

// TCP is a TCP connection as an Endpoint.
type TCP struct {
	*net.TCPConn
	aborted atomic.Bool
}

// NewTCP makes an Endpoint of a connection, which it owns from then on. Until
// Close, whatever ends the connection is a reset (SO_LINGER of 0, socket(7)): if
// this process is killed, the peer must not take that for the end of the data.
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

// Close leaves what was written to the kernel to deliver.
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

func (t *TCP) translateError(err error) error {
	if err != nil && t.aborted.Load() {
		return errAborted
	}
	return err
}

// Shrink has nothing to give: the buffers are the kernel's.
func (t *TCP) Shrink() {}
