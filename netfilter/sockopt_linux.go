package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const soOriginalDst = 80

// OriginalDestination returns where the peer of an accepted TCP connection wanted
// to go, as conntrack remembers it. It returns ErrNotRedirected if that is the
// connection's own local address, or if conntrack does not know the connection.
// It unmaps IPv4-mapped addresses.
func OriginalDestination(c syscall.Conn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}

	var original netip.AddrPort
	var failed error
	if err := raw.Control(func(fd uintptr) { original, failed = originalDestination(int(fd)) }); err != nil {
		failed = err
	}
	if failed != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", failed)
	}

	return original, nil
}

func originalDestination(fd int) (netip.AddrPort, error) {
	local, err := localAddress(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}

	get := originalDestination6
	if local.Addr().Is4() {
		get = originalDestination4
	}

	original, err := get(fd)
	if errors.Is(err, unix.ENOENT) || err == nil && original == local {
		return netip.AddrPort{}, ErrNotRedirected
	}

	return original, err
}

// localAddress returns what getsockname says. It unmaps the address of an IPv4
// connection on an IPv6 socket, which conntrack knows as plain IPv4.
func localAddress(fd int) (netip.AddrPort, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}

	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
	}

	return netip.AddrPort{}, errors.New("not an IP socket")
}

// originalDestination4 reads a sockaddr_in. x/sys has no function for that, so it
// borrows one that gets a structure of 20 bytes.
func originalDestination4(fd int) (netip.AddrPort, error) {
	buf, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockopt SO_ORIGINAL_DST", err)
	}

	b := buf.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// originalDestination6 reads a sockaddr_in6, the first field of struct
// ip6_mtuinfo. It ignores the scope, which conntrack does not keep.
func originalDestination6(fd int) (netip.AddrPort, error) {
	info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockopt IP6T_SO_ORIGINAL_DST", err)
	}

	port := *(*[2]byte)(unsafe.Pointer(&info.Addr.Port)) // network byte order
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}

// ControlMark returns a function for net.Dialer.Control that sets the mark of a
// socket (SO_MARK, socket(7)), so that its connection is never redirected. It needs
// CAP_NET_ADMIN.
func ControlMark(mark uint32) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		})
		if err == nil {
			err = os.NewSyscallError("setsockopt SO_MARK", failed)
		}
		return err
	}
}
