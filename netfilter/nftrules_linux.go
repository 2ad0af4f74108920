package netfilter

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// chainPriority puts our chains before those of others for destination NAT, which
// are at -100 like those of iptables. The first chain to decide has the connection.
// behindPriority leaves that to the others.
const (
	chainPriority  nftables.ChainPriority = -101
	behindPriority nftables.ChainPriority = -99
)

// Offsets and lengths of the header fields to match, in bytes (RFC 9293, RFC 791,
// RFC 8200), the TCP flags, and the registers.
const (
	offsetSourcePort             = 0
	offsetPort, lenPort          = 2, 2
	offsetFlags, lenFlags        = 13, 1
	offsetSource4, offsetSource6 = 12, 8
	offsetAddress4, lenAddress4  = 16, 4
	offsetAddress6, lenAddress6  = 24, 16
	flagFIN, flagSYN             = 0x01, 0x02
	flagRST, flagACK             = 0x04, 0x10
	firstRegister                = unix.NFT_REG_1
	secondWord, secondWordOfIPv6 = unix.NFT_REG32_01, unix.NFT_REG_2
)

// exprs is a rule or a part of one, in the order that the kernel evaluates it.
type exprs = []expr.Any

// addMapsAndRules queues everything in the table, but not the table itself.
func addMapsAndRules(c nftConn, t *nftables.Table, config Config) (nftMaps, error) {
	maps := newMaps(t)
	for _, m := range maps.all() {
		if err := c.AddSet(m, nil); err != nil {
			return maps, err
		}
	}

	excluded4, excluded6, err := addExcludedSets(c, t, config.Exclude)
	if err != nil {
		return maps, err
	}

	output, priority := nftables.ChainHookOutput, chainPriority
	if config.LoopbackOnly {
		// A mesh's rules send some connections from its proxy back to the proxy.
		priority = behindPriority
	} else {
		addChain(c, t, nftables.ChainHookPrerouting, priority, "prerouting", preroutingRules(maps))
	}

	unmarked := joinExprs(matchMark(config.Mark), leaveChain())
	addChain(c, t, output, priority, "loopback", append([]exprs{unmarked}, loopbackRules(config, maps)...))
	addChain(c, t, output, chainPriority, "output", append([]exprs{unmarked}, leavingRules(maps, excluded4, excluded6)...))
	return maps, nil
}

func addChain(c nftConn, t *nftables.Table, hook *nftables.ChainHook, priority nftables.ChainPriority, name string, rules []exprs) {
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{
		Name: name, Table: t, Type: nftables.ChainTypeNAT, Hooknum: hook,
		Priority: nftables.ChainPriorityRef(priority), Policy: &accept,
	})

	for _, r := range rules {
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r})
	}
}

// preroutingRules redirects connections from outside.
func preroutingRules(m nftMaps) []exprs {
	fromOutside := matchLoopback(expr.MetaKeyIIFNAME, expr.CmpOpNeq)
	return []exprs{joinExprs(matchSYN(), fromOutside, loadPort(firstRegister), redirectByMap(m.incoming))}
}

// leavingRules redirects connections that leave the namespace. The first rule that
// decides ends the evaluation: a redirect with an address overrides the excluded
// destinations, and those override a redirect without an address.
func leavingRules(m nftMaps, excluded4, excluded6 *nftables.Set) []exprs {
	leaving := joinExprs(matchSYN(), matchLoopback(expr.MetaKeyOIFNAME, expr.CmpOpNeq))

	return []exprs{
		joinExprs(leaving, loadDestination4(), redirectByMap(m.outgoing4)),
		joinExprs(leaving, loadDestination6(), redirectByMap(m.outgoing6)),
		joinExprs(leaving, loadDestination4(), matchMember(excluded4), leaveChain()),
		joinExprs(leaving, loadDestination6(), matchMember(excluded6), leaveChain()),
		joinExprs(leaving, loadPort(firstRegister), redirectByMap(m.outgoing)),
	}
}

// loopbackRules redirects connections over lo: to the loopback address, or, where the
// configuration wants that, to another port of the same address.
func loopbackRules(c Config, m nftMaps) []exprs {
	overLoopback := joinExprs(matchSYN(), matchLoopback(expr.MetaKeyOIFNAME, expr.CmpOpEq))
	if !c.LoopbackOnly {
		return []exprs{joinExprs(overLoopback, loadPort(firstRegister), redirectByMap(m.incoming))}
	}

	// Kernels before 5.14 change a port alone only in rules of one family.
	var rules []exprs
	for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		rules = append(rules, joinExprs(overLoopback, matchFamily(family), loadPort(firstRegister), changePortByMap(m.incoming, family)))
	}
	return rules
}

func addExcludedSets(c nftConn, t *nftables.Table, exclude []netip.AddrPort) (v4, v6 *nftables.Set, err error) {
	newSet := func(id uint32, name string, address nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t, ID: id, Name: name, KeyType: destinationType(address), Concatenation: true}
	}
	v4 = newSet(5, "excluded4", nftables.TypeIPAddr)
	v6 = newSet(6, "excluded6", nftables.TypeIP6Addr)

	var elements4, elements6 []nftables.SetElement
	for _, destination := range exclude {
		address := destination.Addr().Unmap()
		element := nftables.SetElement{Key: destinationBytes(address, destination.Port())}
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

func joinExprs(parts ...exprs) exprs {
	var out exprs
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

// matchSYN matches the first packet of a TCP connection. In a namespace that had
// no NAT before, conntrack takes established connections for new ones, and they
// must not be redirected half-way.
func matchSYN() exprs {
	protocol := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}
	return joinExprs(matchEqual(protocol, []byte{unix.IPPROTO_TCP}), exprs{
		loadTransport(offsetFlags, lenFlags, firstRegister),
		&expr.Bitwise{
			SourceRegister: firstRegister, DestRegister: firstRegister, Len: lenFlags,
			Mask: []byte{flagFIN | flagSYN | flagRST | flagACK}, Xor: []byte{0},
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstRegister, Data: []byte{flagSYN}},
	})
}

func matchEqual(load expr.Any, data []byte) exprs {
	return exprs{load, &expr.Cmp{Op: expr.CmpOpEq, Register: firstRegister, Data: data}}
}

// matchLoopback compares a packet's interface with lo. The name is padded to its
// full length, so that no longer name matches.
func matchLoopback(key expr.MetaKey, op expr.CmpOp) exprs {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")

	return exprs{
		&expr.Meta{Key: key, Register: firstRegister},
		&expr.Cmp{Op: op, Register: firstRegister, Data: name},
	}
}

func matchMark(mark uint32) exprs {
	load := &expr.Meta{Key: expr.MetaKeyMARK, Register: firstRegister}
	return matchEqual(load, binaryutil.NativeEndian.PutUint32(mark))
}

// matchMember looks up in a set what was loaded.
func matchMember(set *nftables.Set) exprs {
	return exprs{&expr.Lookup{SourceRegister: firstRegister, SetName: set.Name, SetID: set.ID}}
}

func loadTransport(offset, length, register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length, DestRegister: register}
}

func loadNetwork(offset, length uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: firstRegister}
}

func loadPort(register uint32) exprs {
	return exprs{loadTransport(offsetPort, lenPort, register)}
}

func loadDestination4() exprs {
	return loadDestination(unix.NFPROTO_IPV4, offsetAddress4, lenAddress4, secondWord)
}

func loadDestination6() exprs {
	return loadDestination(unix.NFPROTO_IPV6, offsetAddress6, lenAddress6, secondWordOfIPv6)
}

// loadDestination loads an address and a port, laid out as by destinationBytes. It
// skips the rule for packets of the other family.
func loadDestination(family byte, offset, length, portRegister uint32) exprs {
	return joinExprs(matchFamily(family), exprs{loadNetwork(offset, length)}, loadPort(portRegister))
}

func matchFamily(family byte) exprs {
	return matchEqual(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstRegister}, []byte{family})
}

// redirectByMap redirects to the port that the map has for what was loaded. If the
// map has none, the packet goes on to the next rule.
func redirectByMap(m *nftables.Set) exprs {
	return exprs{lookUp(m), &expr.Redir{RegisterProtoMin: firstRegister}}
}

// changePortByMap is redirectByMap for packets of one family, and leaves their address as
// it is.
func changePortByMap(m *nftables.Set, family byte) exprs {
	change := &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(family), RegProtoMin: firstRegister}
	return exprs{lookUp(m), change}
}

// lookUp replaces what was loaded by what the map has for it. Without that, the packet
// goes on to the next rule.
func lookUp(m *nftables.Set) expr.Any {
	return &expr.Lookup{
		SourceRegister: firstRegister, DestRegister: firstRegister, IsDestRegSet: true,
		SetName: m.Name, SetID: m.ID,
	}
}

// leaveChain ends the evaluation of our chain without a redirect.
func leaveChain() exprs { return exprs{&expr.Verdict{Kind: expr.VerdictReturn}} }
