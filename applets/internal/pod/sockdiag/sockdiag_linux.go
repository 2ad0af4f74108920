package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// DestroyConnections resets the established TCP connections, IPv4 and IPv6, at a local port, those
// that match wants or, if match is nil, all. Their process gets ECONNABORTED, their peer a RST. It
// returns how many it reset; those that ended by themselves meanwhile do not count.
//
// The network namespace is that of the calling thread, which needs CAP_NET_ADMIN in it: without,
// the error is EPERM. Where the kernel cannot reset connections, it is ErrUnsupported.
func DestroyConnections(ctx context.Context, port uint16, match func(TCPConnection) bool) (int, error) {
	count, err := destroyFamilies(ctx, portPair{local: port}, match)
	if err != nil {
		return count, fmt.Errorf("reset connections at port %d: %w", port, err)
	}

	return count, nil
}

// DestroyConnectionsTo does what DestroyConnections does, with the connections to a remote port.
func DestroyConnectionsTo(ctx context.Context, port uint16, match func(TCPConnection) bool) (int, error) {
	count, err := destroyFamilies(ctx, portPair{remote: port}, match)
	if err != nil {
		return count, fmt.Errorf("reset connections to port %d: %w", port, err)
	}

	return count, nil
}

// A portPair selects connections by their ports. 0 is any.
type portPair struct{ local, remote uint16 }

// selects reports whether a connection has the ports.
func (p portPair) selects(c TCPConnection) bool {
	return (p.local == 0 || c.Local.Port() == p.local) && (p.remote == 0 || c.Remote.Port() == p.remote)
}

// destroyFamilies resets the connections of IPv4 and of IPv6.
func destroyFamilies(ctx context.Context, ports portPair, match func(TCPConnection) bool) (count int, err error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return 0, markUnsupported(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}

	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		n, err := destroyFamily(ctx, conn, family, ports, match)
		count += n
		if err != nil {
			return count, err
		}
	}

	return count, nil
}

// destroyFamily resets the connections of one address family.
func destroyFamily(ctx context.Context, conn *netlink.Conn, family uint8, ports portPair, match func(TCPConnection) bool) (int, error) {
	messages, err := conn.Execute(newDumpRequest(family, ports))
	if err != nil {
		return 0, markUnsupported(err)
	}

	count := 0
	for _, m := range messages {
		id, c, ok := parseConnection(m.Data)
		if !ok || !ports.selects(c) || match != nil && !match(c) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return count, err
		}

		// The id names this socket and no later one with the same addresses.
		_, err := conn.Execute(newRequest(sockDestroy, netlink.Acknowledge, family, id))
		if errors.Is(err, unix.ENOENT) {
			continue // it ended meanwhile
		}
		if err != nil {
			return count, markUnsupported(err)
		}

		count++
	}

	return count, nil
}

// markUnsupported adds ErrUnsupported to an error that means it: no such netlink protocol
// (EPROTONOSUPPORT), no handler of the family (ENOENT, EINVAL), no such operation (EOPNOTSUPP).
func markUnsupported(err error) error {
	for _, sign := range []error{unix.EPROTONOSUPPORT, unix.ENOENT, unix.EINVAL, unix.EOPNOTSUPP} {
		if errors.Is(err, sign) {
			return fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
	}
	return err
}

// The operations, of linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
)

// Sizes in bytes of struct inet_diag_sockid, and offsets and size in struct
// inet_diag_msg (linux/inet_diag.h).
const (
	sockidSize   = 48
	sockidOffset = 4
	uidOffset    = sockidOffset + sockidSize + 12
	inodeOffset  = uidOffset + 4
	messageSize  = inodeOffset + 4
)

// newDumpRequest asks for the established sockets with some ports. The kernel itself filters by
// them (inet_diag_dump_icsk in net/ipv4).
func newDumpRequest(family uint8, ports portPair) netlink.Message {
	id := binary.BigEndian.AppendUint16(nil, ports.local)
	id = binary.BigEndian.AppendUint16(id, ports.remote)
	return newRequest(sockDiagByFamily, netlink.Dump, family, append(id, make([]byte, sockidSize-4)...))
}

// newRequest makes a message with a struct inet_diag_req_v2.
func newRequest(operation uint16, flags netlink.HeaderFlags, family uint8, id []byte) netlink.Message {
	const established = 1 << 1 // TCP_ESTABLISHED (net/tcp_states.h)
	data := []byte{family, unix.IPPROTO_TCP, 0, 0}
	data = binary.NativeEndian.AppendUint32(data, established)

	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(operation), Flags: netlink.Request | flags},
		Data:   append(data, id...),
	}
}

// parseConnection reads a struct inet_diag_msg: the socket's id, with a cookie that no later
// socket has, and the connection.
func parseConnection(data []byte) (id []byte, c TCPConnection, ok bool) {
	if len(data) < messageSize {
		return nil, TCPConnection{}, false
	}

	id = data[sockidOffset:][:sockidSize]
	c = TCPConnection{
		Local:  newAddrPort(data[0], id[4:20], id[0:2]),
		Remote: newAddrPort(data[0], id[20:36], id[2:4]),
		UID:    binary.NativeEndian.Uint32(data[uidOffset:]),
		Inode:  binary.NativeEndian.Uint32(data[inodeOffset:]),
	}

	return id, c, true
}

// newAddrPort reads an address, of which IPv4 has the first four bytes, and a port.
func newAddrPort(family uint8, address, port []byte) netip.AddrPort {
	if family == unix.AF_INET {
		address = address[:4]
	}

	a, _ := netip.AddrFromSlice(address)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}
