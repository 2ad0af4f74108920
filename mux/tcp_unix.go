//go:build unix

package mux

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lazyRead is the state of ReadLazily. Its function is made once, not for every read.
type lazyRead struct {
	try    func(fd uintptr) bool
	lender lender
	piece  []byte
	err    error
}

// prepareLazyRead makes the function that tries to read.
func (t *TCP) prepareLazyRead() {
	l := &t.lazy
	l.try = func(fd uintptr) bool {
		buffer := l.lender.lendBuffer()
		n, err := unix.Read(int(fd), buffer)
		for err == unix.EINTR {
			n, err = unix.Read(int(fd), buffer)
		}

		if err == unix.EAGAIN {
			l.lender.takeBack()
			return false
		}

		l.piece, l.err = buffer[:max(n, 0)], err
		return true
	}
}

// ReadLazily reads first, and waits without a buffer if there is nothing: so bulk data costs one
// system call for each piece. One goroutine may call it at a time.
func (t *TCP) ReadLazily(from lender) ([]byte, error) {
	if t.raw == nil {
		return nil, net.ErrClosed
	}

	l := &t.lazy
	l.lender, l.piece, l.err = from, nil, nil
	err := t.raw.Read(l.try)
	piece := l.piece
	l.lender, l.piece = nil, nil

	switch {
	case err != nil:
	case l.err != nil:
		err = fmt.Errorf("read %s: %w", t.RemoteAddr(), os.NewSyscallError("read", l.err))
	case len(piece) == 0:
		err = io.EOF
	}

	return piece, t.translateReadError(err)
}

// WaitWritable waits until the kernel's buffer has room.
func (t *TCP) WaitWritable() error {
	if t.raw == nil {
		return net.ErrClosed
	}

	return t.translateError(t.raw.Write(func(fd uintptr) bool {
		// A poll that finds no room also has the kernel tell when there is some.
		one := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(one, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}))
}

// WatchReset waits for a reset by a peer that has ended its data. It cannot see it by reading,
// which returns the end from then on.
func (t *TCP) WatchReset() error {
	if t.raw == nil {
		return nil
	}

	dead := false
	_ = t.raw.Read(func(fd uintptr) bool {
		dead = isDeadSocket(int(fd))
		return dead
	})
	if !dead || t.writeClosed.Load() {
		return nil // stopped, or this side has ended, too
	}

	return t.translateError(fmt.Errorf("%s: %w after the end of its data", t.RemoteAddr(), ErrReset))
}

// StopWatch ends WatchReset. There is nothing to read any more.
func (t *TCP) StopWatch() { _ = t.SetReadDeadline(time.Unix(1, 0)) }
