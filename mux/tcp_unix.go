//go:build unix

package mux

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// WaitReadable peeks (MSG_PEEK, recv(2)) until there is something to read. It returns the error
// that it finds, because the kernel reports one only once: Read would then return io.EOF.
func (t *TCP) WaitReadable() error {
	raw, err := t.SyscallConn()
	if err != nil {
		return t.translateError(err)
	}

	var one [1]byte
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		for peeked == unix.EINTR {
			_, _, peeked = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		}
		return peeked != unix.EAGAIN
	})
	if err == nil && peeked != nil {
		err = fmt.Errorf("read %s: %w", t.RemoteAddr(), peeked)
	}

	return t.translateError(err)
}
