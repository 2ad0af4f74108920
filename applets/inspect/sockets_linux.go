package inspect

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// addSockets adds the sockets of the network namespace, which the containers
// of a pod share, that processes of the target have. Where the sockets of some
// are hidden, what has no known owner may be theirs: listeners are added
// without one, the others counted.
func (t *taking) addSockets() error {
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		err := procfs.EachSocket("/proc/net/"+protocol, func(s procfs.Socket) bool {
			t.addSocket(protocol, s)
			return true
		})
		// A kernel without IPv6 has none of that.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read the sockets: %w", err)
		}
	}

	err := procfs.EachUnixSocket("/proc/net/unix", func(s procfs.UnixSocket) bool {
		if s.Listening {
			t.add(wire.Socket{Protocol: "unix", State: wire.StateListen, Local: s.Path, UID: -1, Inode: s.Inode})
		}
		return true
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the sockets: %w", err)
	}

	return nil
}

func (t *taking) addSocket(protocol string, s procfs.Socket) {
	// What is left of a connection that no process has any more.
	if s.Inode == 0 {
		return
	}

	state := s.State.String()
	if s.State == procfs.TCPClose && (protocol == "udp" || protocol == "udp6") {
		state = wire.StateUnconnected
	}

	one := wire.Socket{Protocol: protocol, State: state, Local: text(s.Local), UID: int(s.UID), Inode: s.Inode}
	if !one.Listening() {
		one.Remote = text(s.Remote)
	}

	t.add(one)
}

// add adds a socket that is asked for, as far as the bounds go.
func (t *taking) add(s wire.Socket) {
	s.PIDs = t.owners[s.Inode]
	if s.PIDs == nil {
		if len(t.Hidden.Processes) == 0 {
			return
		}
		t.Hidden.Sockets++
		if !s.Listening() || s.Protocol == "unix" {
			return
		}
		s.PIDs = []int{}
	}

	kind, count := "listening", &t.listeners
	if !s.Listening() {
		kind, count = "connected", &t.connected
	}

	switch {
	case !s.Listening() && !t.opts.connected:
	case *count == t.limits.sockets:
		t.cut("more than %d %s sockets", t.limits.sockets, kind)
	default:
		*count++
		t.Sockets = append(t.Sockets, s)
	}
}

// text is an address as people write it: an IPv4 one in an IPv6 socket too.
func text(address netip.AddrPort) string {
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()).String()
}
