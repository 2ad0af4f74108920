package redirectserver

import (
	"golang.org/x/sys/unix"
)

// peekSocket looks at the first bytes that a socket has received, and leaves them there. It also
// returns whether the peer sends no more. It does not wait.
func peekSocket(fd uintptr, into []byte) (n int, ended bool, err error) {
	n, _, err = unix.Recvfrom(int(fd), into, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	for err == unix.EINTR {
		n, _, err = unix.Recvfrom(int(fd), into, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}

	switch err {
	case unix.EAGAIN:
		return 0, false, nil
	case nil:
		return n, n == 0 || hasPeerEnded(fd), nil
	}
	return 0, false, err
}

// hasPeerEnded reports whether a FIN has come, perhaps behind bytes that nobody has read yet.
func hasPeerEnded(fd uintptr) bool {
	one := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(one, 0)
	return err == nil && n > 0
}
