package redirectserver

import (
	"kdiag/mux"

	"golang.org/x/sys/unix"
)

const (
	// fewConnections may have whatever buffers the kernel gives them: up to 4 MiB to send, and more
	// on loopback.
	fewConnections = 64
	// unsentLimit is what the kernel holds, beyond what is under way, for a caller that is slow to
	// take it; and receiveLimit what it holds of a caller's that waits for the laptop.
	unsentLimit, receiveLimit = 16 << 10, 16 << 10
)

// limitSocketBuffers has the kernel hold less for a connection if it is one of many. Cgroup v2
// charges the pod for it. A fast caller loses nothing by the limit of what it is sent: what is under
// way does not count. What callers send is limited once a quarter of the places are taken.
func limitSocketBuffers(conn *mux.TCP, count, limit int) {
	raw, err := conn.SyscallConn()
	if err != nil || count <= fewConnections {
		return
	}

	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
		if count > limit/4 {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveLimit)
		}
	})
}
