package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// sourcePriority puts our chain for source NAT before those of others, which are at 100.
const sourcePriority nftables.ChainPriority = 99

// sourceMaps hold the addresses that the manager's connections to the application seem to come from,
// by their source ports.
type sourceMaps struct{ source4, source6 *nftables.Set }

func newSourceMaps(t *nftables.Table) sourceMaps {
	newMap := func(id uint32, name string, address nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, ID: id, Name: name, IsMap: true, KeyType: nftables.TypeInetService, DataType: address}
	}
	return sourceMaps{newMap(7, "source4", nftables.TypeIPAddr), newMap(8, "source6", nftables.TypeIP6Addr)}
}

// elementOf returns the map for an address, and the element that gives it to a port.
func (m sourceMaps) elementOf(port uint16, source netip.Addr) (*nftables.Set, nftables.SetElement) {
	element := nftables.SetElement{Key: portBytes(port), Val: source.AsSlice()}
	if source.Is4() {
		return m.source4, element
	}
	return m.source6, element
}

// addSources queues the maps and the chain that gives the manager's own connections over lo another
// source. conntrack leads the answers back, although they are meant for an address outside.
func addSources(c nftConn, t *nftables.Table, mark uint32) (sourceMaps, error) {
	maps := newSourceMaps(t)
	for _, m := range []*nftables.Set{maps.source4, maps.source6} {
		if err := c.AddSet(m, nil); err != nil {
			return maps, err
		}
	}

	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting,
		Priority: nftables.ChainPriorityRef(sourcePriority), Policy: &accept,
	})
	for _, rule := range []exprs{
		sourceRule(mark, unix.NFPROTO_IPV4, maps.source4), sourceRule(mark, unix.NFPROTO_IPV6, maps.source6),
	} {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: rule})
	}
	return maps, nil
}

// sourceRule gives marked connections of one family the source that the map has for their port.
func sourceRule(mark uint32, family byte, m *nftables.Set) exprs {
	protocol := &expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstRegister}
	return joinExprs(
		matchMark(mark), matchEqual(protocol, []byte{family}), matchSYN(), matchLoopback(expr.MetaKeyOIFNAME, expr.CmpOpEq),
		exprs{
			loadTransport(offsetSourcePort, lenPort, firstRegister),
			&expr.Lookup{SourceRegister: firstRegister, DestRegister: firstRegister, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(family), RegAddrMin: firstRegister},
		},
	)
}

// KeepSource has the next connection from a local port to the namespace itself come from another
// address. forget ends that for connections to come: it may be called once the connection is made.
func (b *nftBackend) KeepSource(port uint16, source netip.Addr) (forget func() error, err error) {
	m, element := b.sources.elementOf(port, source.Unmap())
	err = b.changeSources(func() error { return b.conn.SetAddElements(m, []nftables.SetElement{element}) })
	if err != nil {
		return nil, fmt.Errorf("keep the source %s: %w", source, err)
	}

	return func() error {
		return b.changeSources(func() error { return b.conn.SetDeleteElements(m, []nftables.SetElement{{Key: element.Key}}) })
	}, nil
}

// changeSources queues one change and makes it, between others.
func (b *nftBackend) changeSources(queue func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}

	if err := queue(); err != nil {
		return err
	}
	return b.conn.flush()
}

// ControlBound returns a function for net.Dialer.Control that does what ControlMark does, binds the
// socket to a port of the kernel's choice on any address, and calls bound with it. The dialer must
// have no address of its own.
func ControlBound(mark uint32, bound func(port uint16) error) func(network, address string, c syscall.RawConn) error {
	setMark := ControlMark(mark)
	return func(network, address string, c syscall.RawConn) error {
		if err := setMark(network, address, c); err != nil {
			return err
		}

		var port uint16
		var failed error
		err := c.Control(func(fd uintptr) { port, failed = bindAny(int(fd), network == "tcp4") })
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		return bound(port)
	}
}

// bindAny binds a socket to a port of the kernel's choice.
func bindAny(fd int, is4 bool) (port uint16, err error) {
	var address unix.Sockaddr = &unix.SockaddrInet6{}
	if is4 {
		address = &unix.SockaddrInet4{}
	}
	if err := unix.Bind(fd, address); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}

	local, err := localAddress(fd)
	return local.Port(), err
}
