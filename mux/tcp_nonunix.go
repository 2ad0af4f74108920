//go:build !unix

package mux

import "net"

// lazyRead is nothing here: WaitReadable does its work.
type lazyRead struct{}

func (t *TCP) prepareLazyRead() {}

// WaitReadable waits until there is something to read. Where sockets are not read by trying, the
// standard library waits by a read of no bytes.
func (t *TCP) WaitReadable() error {
	if t.raw == nil {
		return net.ErrClosed
	}

	waited := false
	return t.translateReadError(t.raw.Read(func(uintptr) bool {
		ready := waited
		waited = true
		return ready
	}))
}
