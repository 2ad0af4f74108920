package netfilter

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// chainPriority puts our chains before those of others for destination NAT,
// which are at -100 as iptables' are: the first that decides has the connection.
const chainPriority nftables.ChainPriority = -101

// The offsets of the header fields that are matched, in bytes (RFC 9293, RFC
// 791, RFC 8200), and the flags.
const (
	offsetPort, lenPort          = 2, 2
	offsetFlags, lenFlags        = 13, 1
	offsetAddress4, lenAddress4  = 16, 4
	offsetAddress6, lenAddress6  = 24, 16
	flagFIN, flagSYN             = 0x01, 0x02
	flagRST, flagACK             = 0x04, 0x10
	firstRegister                = unix.NFT_REG_1
	secondWord, secondWordOfIPv6 = unix.NFT_REG32_01, unix.NFT_REG_2
)

type exprs = []expr.Any

// addRules queues everything of the table but the table.
func addRules(c nftConn, t *nftables.Table, config Config) (nftMaps, error) {
	maps := newMaps(t)
	for _, m := range maps.all() {
		if err := c.AddSet(m, nil); err != nil {
			return maps, err
		}
	}

	spare4, spare6, err := addSpare(c, t, config.Spare)
	if err != nil {
		return maps, err
	}
	if !config.LoopbackOnly {
		addChain(c, t, nftables.ChainHookPrerouting, "prerouting", prerouting(maps))
	}

	addChain(c, t, nftables.ChainHookOutput, "output", output(config.Mark, maps, spare4, spare6))
	return maps, nil
}

func addChain(c nftConn, t *nftables.Table, hook *nftables.ChainHook, name string, rules []exprs) {
	chain := c.AddChain(natChain(t, hook, name))
	for _, r := range rules {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r})
	}
}

func prerouting(m nftMaps) []exprs {
	outside := iface(expr.MetaKeyIIFNAME, expr.CmpOpNeq)
	return []exprs{rule(syn(), outside, port(firstRegister), redirect(m.incoming))}
}

func output(mark uint32, m nftMaps, spare4, spare6 *nftables.Set) []exprs {
	loopback := rule(syn(), iface(expr.MetaKeyOIFNAME, expr.CmpOpEq))
	leaving := rule(syn(), iface(expr.MetaKeyOIFNAME, expr.CmpOpNeq))
	return []exprs{
		rule(marked(mark), leave()),
		rule(loopback, port(firstRegister), redirect(m.incoming)),
		rule(leaving, destination4(), redirect(m.outgoing4)),
		rule(leaving, destination6(), redirect(m.outgoing6)),
		rule(leaving, destination4(), member(spare4), leave()),
		rule(leaving, destination6(), member(spare6), leave()),
		rule(leaving, port(firstRegister), redirect(m.outgoing)),
	}
}

func natChain(t *nftables.Table, hook *nftables.ChainHook, name string) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: name, Table: t, Type: nftables.ChainTypeNAT, Hooknum: hook,
		Priority: nftables.ChainPriorityRef(chainPriority), Policy: &accept,
	}
}

func addSpare(c nftConn, t *nftables.Table, spare []netip.AddrPort) (v4, v6 *nftables.Set, err error) {
	v4 = &nftables.Set{Table: t, ID: 5, Name: "spare4", KeyType: destination(nftables.TypeIPAddr), Concatenation: true}
	v6 = &nftables.Set{Table: t, ID: 6, Name: "spare6", KeyType: destination(nftables.TypeIP6Addr), Concatenation: true}
	var elements4, elements6 []nftables.SetElement
	for _, s := range spare {
		address := s.Addr().Unmap()
		element := nftables.SetElement{Key: destinationKey(address, s.Port())}
		if address.Is4() {
			elements4 = append(elements4, element)
		} else {
			elements6 = append(elements6, element)
		}
	}

	if err := c.AddSet(v4, elements4); err != nil {
		return nil, nil, err
	}

	return v4, v6, c.AddSet(v6, elements6)
}

// portBytes is a port in network byte order.
func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }

// destinationKey is an address and a port, each padded to whole registers of 4 bytes.
func destinationKey(address netip.Addr, port uint16) []byte {
	return append(append(address.AsSlice(), portBytes(port)...), 0, 0)
}

func rule(parts ...exprs) exprs {
	var out exprs
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

// syn matches the first packet of a TCP connection. In a namespace that had no
// NAT before, conntrack takes up established connections as new ones: they must
// not be redirected in the middle.
func syn() exprs {
	return rule(equal(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}, []byte{unix.IPPROTO_TCP}), exprs{
		transport(offsetFlags, lenFlags, firstRegister),
		&expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: lenFlags,
			Mask: []byte{flagFIN | flagSYN | flagRST | flagACK}, Xor: []byte{0},
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstRegister, Data: []byte{flagSYN}},
	})
}

func equal(load expr.Any, data []byte) exprs {
	return exprs{load, &expr.Cmp{Op: expr.CmpOpEq, Register: firstRegister, Data: data}}
}

// iface compares a packet's interface with lo, by name and so to the padding's end.
func iface(key expr.MetaKey, op expr.CmpOp) exprs {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return exprs{
		&expr.Meta{Key: key, Register: firstRegister},
		&expr.Cmp{Op: op, Register: firstRegister, Data: name},
	}
}

func marked(mark uint32) exprs {
	return equal(&expr.Meta{Key: expr.MetaKeyMARK, Register: firstRegister}, binaryutil.NativeEndian.PutUint32(mark))
}

func leave() exprs { return exprs{&expr.Verdict{Kind: expr.VerdictReturn}} }

func transport(offset, length, register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length, DestRegister: register}
}

func port(register uint32) exprs { return exprs{transport(offsetPort, lenPort, register)} }

func destination4() exprs {
	return daddr(unix.NFPROTO_IPV4, offsetAddress4, lenAddress4, secondWord)
}

func destination6() exprs {
	return daddr(unix.NFPROTO_IPV6, offsetAddress6, lenAddress6, secondWordOfIPv6)
}

// daddr loads a destination as destinationKey writes it.
func daddr(family byte, offset, length, portRegister uint32) exprs {
	return rule(equal(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstRegister}, []byte{family}), exprs{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: firstRegister},
	}, port(portRegister))
}

func member(set *nftables.Set) exprs {
	return exprs{&expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID}}
}

// redirect goes to the port that the map has for what was loaded. A packet of
// which it has nothing goes on to the next rule.
func redirect(m *nftables.Set) exprs {
	return exprs{
		&expr.Lookup{
			SourceRegister: firstRegister, DestRegister: firstRegister, IsDestRegSet: true,
			SetName: m.Name, SetID: m.ID,
		},
		&expr.Redir{RegisterProtoMin: firstRegister},
	}
}
