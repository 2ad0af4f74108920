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
// with the netlink socket that made it, and only that socket may change it.
// Linux 5.12, commit 6001a930ce03 ("netfilter: nftables: introduce table ownership").
const tableOwner = 0x2

// nftTimeout bounds one exchange with the kernel, which answers at once.
const nftTimeout = 10 * time.Second

// nftConn is one netlink socket, to which all that it sends belongs. It stays
// in the network namespace of the thread that dialed it.
type nftConn struct {
	*nftables.Conn
	socket *netlink.Conn
}

func dialNFT() (nftConn, error) {
	var c nftConn
	keep := func(socket *netlink.Conn) error {
		c.socket = socket
		return nil
	}

	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(keep))
	if err != nil {
		return nftConn{}, fmt.Errorf("netlink: %w", err)
	}

	c.Conn = conn
	return c, nil
}

// within gives one exchange its time.
func (c nftConn) within(exchange func() error) error {
	if err := c.socket.SetDeadline(time.Now().Add(nftTimeout)); err != nil {
		return err
	}
	return exchange()
}

func (c nftConn) flush() error { return c.within(c.Flush) }

// request is one change that the library cannot express.
type request struct {
	operation uint16 // NFT_MSG_…
	flags     netlink.HeaderFlags
	family    nftables.TableFamily
	attrs     []netlink.Attribute
}

// send makes the changes in one batch: all of them or none.
func (c nftConn) send(requests ...request) error {
	batch := []netlink.Message{batchMark(unix.NFNL_MSG_BATCH_BEGIN)}
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
			Data: append(nfgenmsg(r.family, 0), attrs...),
		})
	}

	batch = append(batch, batchMark(unix.NFNL_MSG_BATCH_END))
	return c.within(func() error { return c.exchange(batch, len(requests)) })
}

// exchange waits for the answers. The kernel answers each message of a batch
// that it looked at, but a caller without the right to change gets one answer.
func (c nftConn) exchange(batch []netlink.Message, answers int) error {
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

func batchMark(kind uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   nfgenmsg(nftables.TableFamilyUnspecified, unix.NFNL_SUBSYS_NFTABLES),
	}
}

// nfgenmsg is the header of every nfnetlink message (linux/netfilter/nfnetlink.h).
func nfgenmsg(family nftables.TableFamily, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{byte(family), unix.NFNETLINK_V0}, resource)
}

func tableName(name string) netlink.Attribute {
	return netlink.Attribute{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(name), 0)}
}

// newTable makes a table that must not exist yet.
func (c nftConn) newTable(t *nftables.Table, flags uint32) error { return c.send(makeTable(t, flags)) }

// tryTable makes a table and takes it away in one.
func (c nftConn) tryTable(t *nftables.Table, flags uint32) error {
	return c.send(makeTable(t, flags), request{
		operation: unix.NFT_MSG_DELTABLE, family: t.Family, attrs: []netlink.Attribute{tableName(t.Name)},
	})
}

func makeTable(t *nftables.Table, flags uint32) request {
	return request{
		operation: unix.NFT_MSG_NEWTABLE,
		flags:     netlink.Create | netlink.Excl,
		family:    t.Family,
		attrs: []netlink.Attribute{
			tableName(t.Name),
			{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, flags)},
		},
	}
}

// owned reports whether a table that was listed has an owner. The library reads
// the flags, which are in network byte order, in the host's.
func owned(t *nftables.Table) bool {
	wire := binary.NativeEndian.AppendUint32(nil, t.Flags)
	return binary.BigEndian.Uint32(wire)&tableOwner != 0
}
