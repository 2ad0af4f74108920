package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The attribute with a socket's SO_MARK, of linux/inet_diag.h. The kernel gives it to whoever has
// CAP_NET_ADMIN.
const attributeMark = 15

// A MarkReader reads the marks of TCP sockets of the network namespace in which it was made.
type MarkReader struct{ conn *netlink.Conn }

// OpenMarkReader opens a MarkReader. The caller closes it.
func OpenMarkReader() (*MarkReader, error) {
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("read sockets' marks: %w", markUnsupported(err))
	}
	return &MarkReader{conn}, nil
}

// Close frees what a MarkReader holds.
func (r *MarkReader) Close() error { return r.conn.Close() }

// ReadMark returns the mark of a TCP socket, given by its addresses as its family has them, and 0
// if it has none or has gone.
func (r *MarkReader) ReadMark(local, remote netip.AddrPort) (uint32, error) {
	family := uint8(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}

	request := newRequest(sockDiagByFamily, 0, family, newSocketID(local, remote))
	binary.NativeEndian.PutUint32(request.Data[4:], ^uint32(0)) // in whatever state
	messages, err := r.conn.Execute(request)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the mark of socket %s: %w", local, markUnsupported(err))
	}

	for _, m := range messages {
		if mark, ok := parseMark(m.Data); ok {
			return mark, nil
		}
	}

	return 0, nil
}

// newSocketID makes a struct inet_diag_sockid without an interface, that names a socket with
// whatever cookie.
func newSocketID(local, remote netip.AddrPort) []byte {
	id := binary.BigEndian.AppendUint16(nil, local.Port())
	id = binary.BigEndian.AppendUint16(id, remote.Port())
	for _, address := range []netip.Addr{local.Addr(), remote.Addr()} {
		var padded [16]byte
		copy(padded[:], address.AsSlice())
		id = append(id, padded[:]...)
	}

	id = append(id, 0, 0, 0, 0)
	return binary.NativeEndian.AppendUint64(id, ^uint64(0)) // INET_DIAG_NOCOOKIE
}

// parseMark finds the mark among the attributes that follow a struct inet_diag_msg.
func parseMark(data []byte) (mark uint32, ok bool) {
	if len(data) < messageSize {
		return 0, false
	}

	attributes, err := netlink.UnmarshalAttributes(data[messageSize:])
	if err != nil {
		return 0, false
	}

	for _, a := range attributes {
		if a.Type == attributeMark && len(a.Data) == 4 {
			return binary.NativeEndian.Uint32(a.Data), true
		}
	}

	return 0, false
}
