package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tableOwner is NFT_TABLE_F_OWNER (linux/netfilter/nf_tables.h): the table goes
// with the netlink socket that made it, and only that socket may change it. It
// needs Linux 5.12, commit 6001a930ce03 ("netfilter: nftables: introduce table
// ownership").
const tableOwner = 0x2

// nftTimeout limits one exchange with the kernel, which answers at once.
const nftTimeout = 10 * time.Second

// nftConn sends requests over one netlink socket, which owns the tables that it
// makes. It stays in the network namespace of the thread that dialed it.
type nftConn struct {
	*nftables.Conn
	socket *netlink.Conn
}

func dialNFT() (nftConn, error) {
	var c nftConn
	keepSocket := func(socket *netlink.Conn) error {
		c.socket = socket
		return nil
	}

	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(keepSocket))
	if err != nil {
		return nftConn{}, fmt.Errorf("netlink: %w", err)
	}

	c.Conn = conn
	return c, nil
}

// withTimeout runs one exchange with the kernel.
func (c nftConn) withTimeout(exchange func() error) error {
	if err := c.socket.SetDeadline(time.Now().Add(nftTimeout)); err != nil {
		return err
	}
	return exchange()
}

func (c nftConn) flush() error { return c.withTimeout(c.Flush) }

// nftRequest describes a change that the library cannot express.
type nftRequest struct {
	operation uint16 // NFT_MSG_…
	flags     netlink.HeaderFlags
	family    nftables.TableFamily
	attrs     []netlink.Attribute
}

// sendBatch makes all of the changes or none.
func (c nftConn) sendBatch(requests ...nftRequest) error {
	batch := []netlink.Message{batchBoundary(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, r := range requests {
		attrs, err := netlink.MarshalAttributes(r.attrs)
		if err != nil {
			return err
		}

		batch = append(batch, netlink.Message{
			Header: netlink.Header{
				Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | r.operation),
				Flags: netlink.Request | netlink.Acknowledge | r.flags,
			},
			Data: append(nfnetlinkHeader(r.family, 0), attrs...),
		})
	}

	batch = append(batch, batchBoundary(unix.NFNL_MSG_BATCH_END))
	return c.withTimeout(func() error { return c.sendAndReceive(batch, len(requests)) })
}

// sendAndReceive sends a batch and reads the answers. The kernel answers every
// message of a batch, unless the caller lacks the right to change anything: then
// it answers once.
func (c nftConn) sendAndReceive(batch []netlink.Message, answers int) error {
	if _, err := c.socket.SendMessages(batch); err != nil {
		return err
	}

	var failed error
	for range answers {
		_, err := c.socket.Receive()
		if failed == nil {
			failed = err
		}
		if errors.Is(err, unix.EPERM) {
			break
		}
	}

	return failed
}

// batchBoundary returns the message that begins or ends a batch.
func batchBoundary(kind uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   nfnetlinkHeader(nftables.TableFamilyUnspecified, unix.NFNL_SUBSYS_NFTABLES),
	}
}

// nfnetlinkHeader returns the struct nfgenmsg that every nfnetlink message begins
// with (linux/netfilter/nfnetlink.h).
func nfnetlinkHeader(family nftables.TableFamily, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{byte(family), unix.NFNETLINK_V0}, resource)
}

// nameAttribute holds a name as the kernel wants it, with a NUL byte at the end.
func nameAttribute(kind uint16, name string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(name), 0)}
}

// createOwnTable creates a table that must not exist yet, without an owner on a
// kernel that does not know owners.
func (c nftConn) createOwnTable(t *nftables.Table, flags uint32) error {
	err := c.createTable(t, flags)
	if flags != 0 && meansNoTableOwners(err) {
		err = c.createTable(t, 0)
	}
	return err
}

// createTable creates a table that must not exist yet.
func (c nftConn) createTable(t *nftables.Table, flags uint32) error {
	return c.sendBatch(createTableRequest(t, flags))
}

// tryTable creates a table and deletes it in the same batch, so that nobody sees it.
func (c nftConn) tryTable(t *nftables.Table, flags uint32) error {
	return c.sendBatch(createTableRequest(t, flags), nftRequest{
		operation: unix.NFT_MSG_DELTABLE,
		family:    t.Family,
		attrs:     []netlink.Attribute{nameAttribute(unix.NFTA_TABLE_NAME, t.Name)},
	})
}

func createTableRequest(t *nftables.Table, flags uint32) nftRequest {
	return nftRequest{
		operation: unix.NFT_MSG_NEWTABLE,
		flags:     netlink.Create | netlink.Excl,
		family:    t.Family,
		attrs: []netlink.Attribute{
			nameAttribute(unix.NFTA_TABLE_NAME, t.Name),
			{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, flags)},
		},
	}
}

// hasOwner reports whether a table from a listing has an owner. The kernel sends
// the flags in network byte order, but the library reads them in the host's.
func hasOwner(t *nftables.Table) bool {
	wire := binary.NativeEndian.AppendUint32(nil, t.Flags)
	return binary.BigEndian.Uint32(wire)&tableOwner != 0
}

// meansNoTableOwners reports whether a kernel that does not know tableOwner
// refuses a table with such an error.
func meansNoTableOwners(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}
