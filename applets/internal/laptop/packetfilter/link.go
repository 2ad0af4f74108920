package packetfilter

import "kdiag/mux/wire"

// The Ethernet types and IP protocols that filters name.
const (
	typeIP4  = 0x0800
	typeARP  = 0x0806
	typeRARP = 0x8035
	typeIP6  = 0x86dd

	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoFragment = 44
	protoICMP6    = 58
	protoSCTP     = 132
)

// link says where in the packets of a link type the headers are.
type link struct {
	name string
	// network is the offset of the IP header. ether says that an Ethernet header is before it.
	network uint32
	ether   bool
}

var links = map[uint16]link{
	wire.LinkEthernet: {"Ethernet", 14, true},
	wire.LinkRaw:      {"raw IP", 0, false},
}

// load returns an instruction that loads a field of 1, 2 or 4 bytes into A.
func load(at, size uint32) []wire.FilterInstruction {
	return []wire.FilterInstruction{{Op: opLoad | modeAbs | sizes[size], K: at}}
}

var sizes = map[uint32]uint16{1: sizeByte, 2: sizeHalf, 4: sizeWord}

// equals compares a field.
func equals(at, size, value uint32) node {
	return test{load(at, size), jumpEqual, value}
}

// masked compares those bits of a word that a mask has.
func masked(at, mask, value uint32) node {
	switch mask {
	case 0:
		return always(true)
	case 0xffffffff:
		return equals(at, 4, value)
	}
	return test{append(load(at, 4), wire.FilterInstruction{Op: opALU | aluAnd, K: mask}), jumpEqual, value & mask}
}

// hasType is true for packets with an Ethernet type. Without an Ethernet header the IP version tells.
func (l link) hasType(kind uint32) node {
	const typeAt, versionBits = 12, 0xf0
	version := map[uint32]uint32{typeIP4: 0x40, typeIP6: 0x60}[kind]
	switch {
	case l.ether:
		return equals(typeAt, 2, kind)
	case version == 0:
		return always(false)
	}
	return test{append(load(0, 1), wire.FilterInstruction{Op: opALU | aluAnd, K: versionBits}), jumpEqual, version}
}

// has4 and has6 are true for packets of an IP protocol. With IPv6 it may follow a fragment header.
func (l link) has4(protocol uint32) node {
	const protocolAt = 9
	return all(l.hasType(typeIP4), equals(l.network+protocolAt, 1, protocol))
}

func (l link) has6(protocol uint32) node {
	const nextAt, behindHeader = 6, 40
	next := equals(l.network+nextAt, 1, protocol)
	fragment := all(equals(l.network+nextAt, 1, protoFragment), equals(l.network+behindHeader, 1, protocol))
	return all(l.hasType(typeIP6), anyOf(next, fragment))
}

// isFirst4 is true for IPv4 packets that are no later fragments: they have the next header.
func (l link) isFirst4() node {
	const fragmentAt, offsetBits = 6, 0x1fff
	return negated{test{load(l.network+fragmentAt, 2), jumpSet, offsetBits}}
}

// loadHeaderLength loads the length of the IPv4 header into X.
func (l link) loadHeaderLength() wire.FilterInstruction {
	return wire.FilterInstruction{Op: opLoadX | modeMsh | sizeByte, K: l.network}
}

// direction says which of two fields is meant.
type direction int

const (
	srcOrDst direction = iota
	srcAndDst
	onlySrc
	onlyDst
)

// join joins the conditions on the source and on the destination.
func (d direction) join(src, dst node) node {
	switch d {
	case onlySrc:
		return src
	case onlyDst:
		return dst
	case srcAndDst:
		return both{src, dst}
	}
	return either{src, dst}
}

// ports is true for packets with ports from low to high, of some protocols: TCP, UDP and SCTP unless
// one is named.
func (l link) ports(protocols []uint32, d direction, low, high uint32) node {
	if len(protocols) == 0 {
		protocols = []uint32{protoSCTP, protoTCP, protoUDP}
	}

	isProtocol := func(at uint32) node {
		var list []node
		for _, each := range protocols {
			list = append(list, equals(at, 1, each))
		}
		return anyOf(list[0], list[1:]...)
	}

	const protocolAt, nextAt, behindHeader = 9, 6, 40
	port4 := func(at uint32) node {
		return inRange([]wire.FilterInstruction{l.loadHeaderLength(), {Op: opLoad | modeInd | sizeHalf, K: l.network + at}}, low, high)
	}
	port6 := func(at uint32) node { return inRange(load(l.network+behindHeader+at, 2), low, high) }

	return anyOf(
		all(l.hasType(typeIP6), isProtocol(l.network+nextAt), d.join(port6(0), port6(2))),
		all(l.hasType(typeIP4), isProtocol(l.network+protocolAt), l.isFirst4(), d.join(port4(0), port4(2))),
	)
}

// inRange is true if what is loaded is from low to high.
func inRange(loads []wire.FilterInstruction, low, high uint32) node {
	if low == high {
		return test{loads, jumpEqual, low}
	}
	return both{test{loads, jumpLeast, low}, negated{test{loads, jumpMore, high}}}
}

// net4 is true for packets from or to a net: IPv4, ARP and RARP unless one is named.
func (l link) net4(protocol string, d direction, address, mask uint32) node {
	at := func(kind, src, dst uint32) node {
		return all(l.hasType(kind), d.join(masked(l.network+src, mask, address), masked(l.network+dst, mask, address)))
	}

	const ipSrc, ipDst, arpSrc, arpDst = 12, 16, 14, 24
	switch protocol {
	case "ip":
		return at(typeIP4, ipSrc, ipDst)
	case "arp":
		return at(typeARP, arpSrc, arpDst)
	case "rarp":
		return at(typeRARP, arpSrc, arpDst)
	}
	return anyOf(at(typeIP4, ipSrc, ipDst), at(typeARP, arpSrc, arpDst), at(typeRARP, arpSrc, arpDst))
}

// net6 is true for IPv6 packets from or to a net; address and mask are its four words.
func (l link) net6(d direction, address, mask [4]uint32) node {
	at := func(offset uint32) node {
		var list []node
		for i := range address {
			list = append(list, masked(l.network+offset+4*uint32(i), mask[i], address[i]))
		}
		return all(list[0], list[1:]...)
	}

	const src, dst = 8, 24
	return all(l.hasType(typeIP6), d.join(at(src), at(dst)))
}

// station is true for Ethernet frames from or to an address.
func station(d direction, address []byte) node {
	at := func(offset uint32) node {
		high := uint32(address[0])<<8 | uint32(address[1])
		low := uint32(address[2])<<24 | uint32(address[3])<<16 | uint32(address[4])<<8 | uint32(address[5])
		return all(equals(offset+2, 4, low), equals(offset, 2, high))
	}

	const dst, src = 0, 6
	return d.join(at(src), at(dst))
}
