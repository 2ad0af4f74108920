package mux

import "golang.org/x/sys/unix"

// tcpClosed is TCPS_CLOSED of netinet/tcp_fsm.h.
const tcpClosed = 0

// isDeadSocket reports whether a TCP socket's connection is over: then it has no state at all, or
// the closed one.
func isDeadSocket(fd int) bool {
	info, err := unix.GetsockoptTCPConnectionInfo(fd, unix.IPPROTO_TCP, unix.TCP_CONNECTION_INFO)
	return err == unix.EINVAL || err == nil && info.State == tcpClosed
}

// socketDelivery counts what is in the send queue (SO_NWRITE, getsockopt(2)).
func socketDelivery(fd int) delivery {
	queued, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil || queued == 0 || isDeadSocket(fd) {
		return delivery{}
	}

	// Nothing is written any more, so whatever is taken makes the queue shorter.
	return delivery{queued, uint64(queued)}
}
