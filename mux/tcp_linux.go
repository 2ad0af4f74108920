package mux

import "golang.org/x/sys/unix"

// tcpClosed is TCP_CLOSE of the kernel's include/net/tcp_states.h.
const tcpClosed = 7

// isDeadSocket reports whether a TCP socket's connection is over.
func isDeadSocket(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.State == tcpClosed
}

// socketDelivery counts what is written and not acknowledged (SIOCOUTQ, tcp(7)). A connection
// that is over delivers nothing more.
func socketDelivery(fd int) delivery {
	queued, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil || queued == 0 {
		return delivery{}
	}

	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State == tcpClosed {
		return delivery{}
	}

	return delivery{queued, info.Bytes_acked}
}
