package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attributes of ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctaTupleOrig, ctaTupleReply = 1, 2
	ctaTupleIP, ctaTupleProto   = 1, 2
	ctaSource4, ctaSource6      = 1, 3
	ctaProtoNum                 = 1
	ctaProtoSource              = 2
	ctaProtoDestination         = 3
	attributeTypeMask           = 0x3fff
)

// conntrackBuffer holds a piece of the kernel's list, which may be very long.
const conntrackBuffer = 32 << 10

// ForgetListeners has conntrack forget the connections of the thread's network namespace that were
// redirected to some ports of its own. The next packet of such a connection goes where it was sent.
// Call it when nothing may go on there: a caller that uses the same source port once more would be led
// there again, also when nobody listens any more.
func ForgetListeners(ports []uint16) error {
	return forgetRedirected(func(port uint16) bool { return slices.Contains(ports, port) })
}

// ForgetDeadListeners does the same for redirects to local ports that nothing in the namespace has, such
// as those of a manager that was killed.
func ForgetDeadListeners(isUsed func(port uint16) bool) error {
	return forgetRedirected(func(port uint16) bool { return !isUsed(port) })
}

// forgetRedirected has conntrack forget the connections that were redirected to some ports of the
// namespace's own addresses. Others may lead connections to the same port elsewhere, as meshes do.
func forgetRedirected(isMeant func(port uint16) bool) error {
	own, err := listOwnAddresses()
	if err != nil {
		return err
	}

	change, err := openConntrack()
	if err != nil {
		return err
	}
	defer change.close()

	return eachRedirected(func(family byte, t redirectedTuple) error {
		if !isMeant(t.listener) || !t.address.IsLoopback() && !slices.Contains(own, t.address) {
			return nil
		}
		return change.forget(family, t)
	})
}

// eachRedirected calls found for each TCP connection that was redirected to a local port. An error of
// found ends the list of one family, not that of the other.
func eachRedirected(found func(family byte, t redirectedTuple) error) error {
	var all error
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		all = errors.Join(all, eachRedirectedOf(family, func(t redirectedTuple) error { return found(family, t) }))
	}
	return all
}

// eachRedirectedOf does so for one family. Its socket is for one list only: after an error, the rest of
// the list still comes there.
func eachRedirectedOf(family byte, found func(redirectedTuple) error) error {
	list, err := openConntrack()
	if err != nil {
		return err
	}
	defer list.close()

	const ctGet = 1 // IPCTNL_MSG_CT_GET
	if err := list.send(ctGet, unix.NLM_F_DUMP, family, nil); err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	return list.readList(found)
}

// listOwnAddresses returns the addresses of the thread's network namespace.
func listOwnAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("conntrack: %w", err)
	}

	var own []netip.Addr
	for _, address := range list {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			own = append(own, prefix.Addr())
		}
	}
	return own, nil
}

// conntrackSocket is a netlink socket to conntrack.
type conntrackSocket struct{ fd int }

func openConntrack() (conntrackSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return conntrackSocket{}, fmt.Errorf("conntrack: %w", err)
	}

	s := conntrackSocket{fd}
	limit := unix.NsecToTimeval(nftTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		s.close()
		return conntrackSocket{}, fmt.Errorf("conntrack: %w", err)
	}
	return s, nil
}

func (s conntrackSocket) close() { _ = unix.Close(s.fd) }

// send sends a request about connections of one family.
func (s conntrackSocket) send(operation uint16, flags uint16, family byte, attributes []byte) error {
	body := append(nfnetlinkHeaderOf(family), attributes...)
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, unix.NFNL_SUBSYS_CTNETLINK<<8|operation)
	message = binary.NativeEndian.AppendUint16(message, unix.NLM_F_REQUEST|flags)
	message = append(message, make([]byte, 8)...) // sequence and port
	return unix.Sendto(s.fd, append(message, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// nfnetlinkHeaderOf returns the struct nfgenmsg for one family.
func nfnetlinkHeaderOf(family byte) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }

// forget removes one connection. The kernel answers only what it refuses, such as for one that has gone
// meanwhile.
func (s conntrackSocket) forget(family byte, t redirectedTuple) error {
	const ctDelete = 2 // IPCTNL_MSG_CT_DELETE
	return s.send(ctDelete, 0, family, appendAttribute(nil, unix.NLA_F_NESTED|ctaTupleOrig, t.original))
}

// readList reads the kernel's list of connections, and calls found for each that was redirected.
func (s conntrackSocket) readList(found func(redirectedTuple) error) error {
	buffer := make([]byte, conntrackBuffer)
	for {
		n, _, err := unix.Recvfrom(s.fd, buffer, 0)
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		if done, err := readConnections(messages, found); done || err != nil {
			return err
		}
	}
}

// readConnections reads a piece of the kernel's list, and reports whether it was the last.
func readConnections(messages []syscall.NetlinkMessage, found func(redirectedTuple) error) (done bool, err error) {
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(m.Data) < 4 {
				return true, errors.New("list connections: answer cut short")
			}
			code := int32(binary.NativeEndian.Uint32(m.Data))
			return true, fmt.Errorf("list connections: %w", syscall.Errno(-code))
		}

		if t, ok := parseRedirected(m.Data); ok {
			if err := found(t); err != nil {
				return true, err
			}
		}
	}
	return false, nil
}

// A redirectedTuple is a connection that was redirected to a local port.
type redirectedTuple struct {
	original []byte     // the attributes of the tuple by which conntrack knows it
	address  netip.Addr // where it arrives
	listener uint16
}

// parseRedirected reads an entry of conntrack. It reports false for what was not redirected, or is not
// TCP.
func parseRedirected(message []byte) (t redirectedTuple, ok bool) {
	if len(message) < 4 {
		return t, false
	}

	var original, answer flow
	eachAttribute(message[4:], func(kind uint16, value []byte) {
		switch kind {
		case ctaTupleOrig:
			t.original = value
			original = parseFlow(value)
		case ctaTupleReply:
			answer = parseFlow(value)
		}
	})

	t.address, t.listener = answer.from, answer.source
	isTCP := original.protocol == unix.IPPROTO_TCP && answer.protocol == unix.IPPROTO_TCP
	return t, isTCP && answer.source != 0 && original.destination != answer.source
}

// A flow is one direction of a connection.
type flow struct {
	protocol            byte
	source, destination uint16
	from                netip.Addr
}

// parseFlow reads a tuple's protocol, ports and source address.
func parseFlow(tuple []byte) (f flow) {
	eachAttribute(tuple, func(part uint16, value []byte) {
		eachAttribute(value, func(kind uint16, value []byte) {
			switch {
			case part == ctaTupleIP && (kind == ctaSource4 || kind == ctaSource6):
				f.from, _ = netip.AddrFromSlice(value)
			case part != ctaTupleProto:
			case kind == ctaProtoNum && len(value) >= 1:
				f.protocol = value[0]
			case kind == ctaProtoSource && len(value) >= 2:
				f.source = binary.BigEndian.Uint16(value)
			case kind == ctaProtoDestination && len(value) >= 2:
				f.destination = binary.BigEndian.Uint16(value)
			}
		})
	})
	return f
}

// eachAttribute calls read for each netlink attribute, as far as they are whole.
func eachAttribute(text []byte, read func(kind uint16, value []byte)) {
	for len(text) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(text))
		if length < unix.SizeofNlAttr || length > len(text) {
			return
		}
		read(binary.NativeEndian.Uint16(text[2:])&attributeTypeMask, text[unix.SizeofNlAttr:length])
		text = text[min((length+3)&^3, len(text)):]
	}
}

// appendAttribute appends a netlink attribute, padded to whole words.
func appendAttribute(to []byte, kind uint16, value []byte) []byte {
	to = binary.NativeEndian.AppendUint16(to, uint16(unix.SizeofNlAttr+len(value)))
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = append(to, value...)
	return append(to, make([]byte, (4-len(value)%4)%4)...)
}
