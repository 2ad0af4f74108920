package mux

import (
	"errors"
	"net"
	"sync/atomic"
)

// errAborted is what an endpoint answers after this side's own Reset.
var errAborted = errors.New("broken off")

// TCP is a TCP connection as an Endpoint.
type TCP struct {
	*net.TCPConn
	aborted atomic.Bool
}

// NewTCP makes an Endpoint of a connection, which it owns from then on.
func NewTCP(conn *net.TCPConn) *TCP { return &TCP{TCPConn: conn} }

// Reset closes the connection with a TCP reset (SO_LINGER of 0, socket(7)).
func (t *TCP) Reset() {
	if t.aborted.Swap(true) {
		return
	}
	_ = t.SetLinger(0)
	_ = t.TCPConn.Close()
}

func (t *TCP) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	return n, t.meaning(err)
}

func (t *TCP) Write(p []byte) (int, error) {
	n, err := t.TCPConn.Write(p)
	return n, t.meaning(err)
}

// CloseWrite sends the end of the data.
func (t *TCP) CloseWrite() error { return t.meaning(t.TCPConn.CloseWrite()) }

func (t *TCP) meaning(err error) error {
	if err != nil && t.aborted.Load() {
		return errAborted
	}
	return err
}

// Shrink has nothing to give: the buffers are the kernel's.
func (t *TCP) Shrink() {}
