package packettext

import (
	"encoding/binary"
	"net/netip"
)

// Numbers of protocols (IANA protocol numbers).
const (
	protocolHopByHop    = 0
	protocolICMP        = 1
	protocolIPv4        = 4
	protocolTCP         = 6
	protocolUDP         = 17
	protocolIPv6        = 41
	protocolRouting     = 43
	protocolFragment    = 44
	protocolICMPv6      = 58
	protocolDestination = 60
)

// protocolName returns the name of a protocol that is shown by nothing but that.
func protocolName(protocol int) string {
	switch protocol {
	case protocolICMP:
		return "ICMP"
	case 2:
		return "IGMP"
	case protocolTCP:
		return "TCP"
	case protocolUDP:
		return "UDP"
	case 47:
		return "GRE"
	case 50:
		return "ESP"
	case 51:
		return "AH"
	case protocolICMPv6:
		return "ICMP6"
	case 59:
		return "no next header"
	case 89:
		return "OSPF"
	case 103:
		return "PIM"
	case 112:
		return "VRRP"
	case 132:
		return "SCTP"
	}

	return ""
}

// datagram is one packet of either version of IP.
type datagram struct {
	source, destination netip.Addr
	protocol            int
	payload             []byte
	// size is the payload's length on the wire.
	size int
	// fragment is the offset of a later fragment, isFragment also tells the first.
	fragment   int
	isFragment bool
}

// addIPv4 adds a packet of version 4. size is its length on the wire, if its header has none: with
// offloading, packets can be larger than a header can tell.
func (l *line) addIPv4(data []byte, size int) {
	const minimum, moreFragments, offsetMask = 20, 0x2000, 0x1fff

	l.add("IP ")
	header := 0
	if len(data) >= minimum {
		header = int(data[0]&0xf) * 4
	}
	if header < minimum || len(data) < header {
		l.addTruncated("ip")
		return
	}

	if total := int(binary.BigEndian.Uint16(data[2:])); total > 0 {
		size = total
	}

	fragments := int(binary.BigEndian.Uint16(data[6:]))
	l.addDatagram(datagram{
		source: addressOf(data[12:16]), destination: addressOf(data[16:20]),
		protocol: int(data[9]), payload: clip(data[header:], size-header), size: max(size-header, 0),
		fragment: fragments & offsetMask * 8, isFragment: fragments&(moreFragments|offsetMask) != 0,
	})
}

// clip cuts what follows a packet, as the padding of short frames does.
func clip(data []byte, size int) []byte { return data[:min(len(data), max(size, 0))] }

// addIPv6 adds a packet of version 6.
func (l *line) addIPv6(data []byte, size int) {
	const header = 40

	l.add("IP6 ")
	if len(data) < header {
		l.addTruncated("ip6")
		return
	}

	size -= header
	if length := int(binary.BigEndian.Uint16(data[4:])); length > 0 {
		size = length
	}

	d := datagram{
		source: addressOf(data[8:24]), destination: addressOf(data[24:40]),
		protocol: int(data[6]), payload: clip(data[header:], size), size: max(size, 0),
	}
	d.skipExtensions()
	l.addDatagram(d)
}

// skipExtensions goes over the headers that stand between that of version 6 and the transport's.
func (d *datagram) skipExtensions() {
	const maxExtensions, minimum = 8, 8
	for range maxExtensions {
		if len(d.payload) < minimum {
			return
		}

		length := minimum
		switch d.protocol {
		case protocolHopByHop, protocolRouting, protocolDestination:
			length += int(d.payload[1]) * 8
		case protocolFragment:
			offset := int(binary.BigEndian.Uint16(d.payload[2:]))
			d.isFragment = d.isFragment || offset&^6 != 0
			d.fragment = offset &^ 7
		default:
			return
		}

		if len(d.payload) < length {
			return
		}

		d.protocol = int(d.payload[0])
		d.payload, d.size = d.payload[length:], d.size-length
		if d.fragment > 0 {
			return
		}
	}
}

// addDatagram adds a packet's addresses and what it carries.
func (l *line) addDatagram(d datagram) {
	switch {
	case d.fragment > 0:
		l.addAddresses(d)
		l.addProtocol(d.protocol)
		l.addNumber(" fragment, offset ", d.fragment)
		l.addNumber(", length ", d.size)
		return
	case d.protocol == protocolTCP:
		l.addTCP(d)
	case d.protocol == protocolUDP:
		l.addUDP(d)
	case d.protocol == protocolICMP:
		l.addAddresses(d)
		l.addICMP(d)
	case d.protocol == protocolICMPv6:
		l.addAddresses(d)
		l.addICMPv6(d)
	default:
		l.addOtherProtocol(d)
	}

	if d.isFragment {
		l.add(", first fragment")
	}
}

// addOtherProtocol adds a packet inside this one, or a protocol's name.
func (l *line) addOtherProtocol(d datagram) {
	const maxDepth = 3

	l.addAddresses(d)
	inside := l.depth < maxDepth
	l.depth++

	switch {
	case d.protocol == protocolIPv4 && inside:
		l.addIPv4(d.payload, d.size)
	case d.protocol == protocolIPv6 && inside:
		l.addIPv6(d.payload, d.size)
	default:
		l.addProtocol(d.protocol)
		l.addNumber(", length ", d.size)
	}
}

// addProtocol adds a protocol's name, or its number.
func (l *line) addProtocol(protocol int) {
	if name := protocolName(protocol); name != "" {
		l.add(name)
		return
	}

	l.addNumber("protocol ", protocol)
}

// addAddresses adds where a packet comes from and goes to.
func (l *line) addAddresses(d datagram) {
	l.addAddress(d.source)
	l.add(" > ")
	l.addAddress(d.destination)
	l.add(": ")
}

// addPorts adds where a packet comes from and goes to, with ports.
func (l *line) addPorts(d datagram, source, destination uint16) {
	l.addAddress(d.source)
	l.addNumber(".", int(source))
	l.add(" > ")
	l.addAddress(d.destination)
	l.addNumber(".", int(destination))
	l.add(": ")
}
