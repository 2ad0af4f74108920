package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// addSockets adds the sockets that processes of the target have, out of those of the network
// namespace, which the containers of a pod share. Where the sockets of some processes are hidden,
// those without a known owner may be theirs: listeners are added without one, the others are
// counted.
func (b *snapshotBuilder) addSockets() error {
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		err := procfs.EachInetSocket("/proc/net/"+protocol, func(s procfs.InetSocket) bool {
			b.addSocket(protocol, s)
			return true
		})
		// A kernel without IPv6 has no such file.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read the sockets: %w", err)
		}
	}

	err := procfs.EachUnixSocket("/proc/net/unix", func(s procfs.UnixSocket) bool {
		if s.Listening {
			b.addOwned(wire.Socket{Protocol: "unix", State: wire.StateListen, Local: s.Path, UID: -1, Inode: s.Inode})
		}
		return true
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the sockets: %w", err)
	}

	return nil
}

// addSocket adds a TCP or UDP socket.
func (b *snapshotBuilder) addSocket(protocol string, s procfs.InetSocket) {
	// The rest of a connection that no process has any more.
	if s.Inode == 0 {
		return
	}

	state := s.State.String()
	if s.State == procfs.TCPClose && (protocol == "udp" || protocol == "udp6") {
		state = wire.StateUnconnected
	}

	one := wire.Socket{Protocol: protocol, State: state, Local: formatAddress(s.Local), UID: int(s.UID), Inode: s.Inode}
	if !one.Listening() {
		one.Remote = formatAddress(s.Remote)
	}

	b.addOwned(one)
}

// addOwned adds a socket if the target has it, or may have it, and it is asked for and within
// bounds.
func (b *snapshotBuilder) addOwned(s wire.Socket) {
	s.PIDs = b.owners[s.Inode]
	if s.PIDs == nil {
		if len(b.Hidden.Processes) == 0 {
			return
		}

		b.Hidden.Sockets++
		if !s.Listening() || s.Protocol == "unix" {
			return
		}
		s.PIDs = []int{}
	}

	kind, count := "listening", &b.listeners
	if !s.Listening() {
		kind, count = "connected", &b.connected
	}

	switch {
	case !s.Listening() && !b.opts.connected:
	case *count == b.limits.sockets:
		b.noteCut("more than %d %s sockets", b.limits.sockets, kind)
	default:
		*count++
		b.Sockets = append(b.Sockets, s)
	}
}

// formatAddress writes an address as people do: the IPv4 address of an IPv6 socket, too.
func formatAddress(address netip.AddrPort) string {
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()).String()
}
