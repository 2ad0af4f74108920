// Package sockdiag ends TCP connections of its network namespace from outside the processes that
// have them (sock_diag(7)).
package sockdiag

import (
	"errors"
	"net/netip"
)

// ErrUnsupported says that the kernel cannot end others' connections: it has no inet_diag, or was
// built without CONFIG_INET_DIAG_DESTROY and answers SOCK_DESTROY with EOPNOTSUPP
// (net/ipv4/inet_diag.c).
var ErrUnsupported = errors.New("kernel lacks SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY)")

// A TCPConnection is an established TCP connection, as seen from one of its sockets.
type TCPConnection struct {
	// Local and Remote are never IPv4-mapped.
	Local, Remote netip.AddrPort
	UID           uint32
	// Inode identifies the socket, as in /proc/PID/fd.
	Inode uint32
}
