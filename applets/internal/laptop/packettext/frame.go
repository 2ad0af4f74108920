package packettext

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"kdiag/applets/internal/laptop/pcapng"
)

// Types of what a frame carries (IEEE 802 numbers).
const (
	typeIPv4     = 0x0800
	typeARP      = 0x0806
	typeVLAN     = 0x8100
	typeIPv6     = 0x86dd
	typeProvider = 0x88a8
)

// addFrame adds what a frame of a link type carries. size is its length on the wire.
func (l *line) addFrame(linkType uint16, data []byte, size int) {
	const (
		ethernetHeader, ethernetType = 14, 12
		cookedHeader, cookedType     = 16, 14
		cooked2Header                = 20
	)

	switch linkType {
	case pcapng.LinkTypeEthernet:
		l.addTyped(data, ethernetHeader, ethernetType, size)
	case pcapng.LinkTypeLinuxCooked:
		l.addTyped(data, cookedHeader, cookedType, size)
	case pcapng.LinkTypeLinuxSLL2:
		l.addTyped(data, cooked2Header, 0, size)
	case pcapng.LinkTypeRaw:
		l.addRaw(data, size)
	default:
		l.addNumber("link type ", int(linkType))
		l.addNumber(", length ", size)
	}
}

// addTyped adds what follows a link's header, in which two bytes tell its type.
func (l *line) addTyped(data []byte, header, at, size int) {
	if len(data) < header {
		l.addTruncated("link")
		return
	}

	l.addPayload(int(binary.BigEndian.Uint16(data[at:])), data[header:], size-header)
}

// addPayload adds what a frame carries. It follows tags of virtual networks.
func (l *line) addPayload(kind int, data []byte, size int) {
	const tag, maxTags = 4, 4
	for range maxTags {
		if kind != typeVLAN && kind != typeProvider || len(data) < tag {
			break
		}

		l.addNumber("vlan ", int(binary.BigEndian.Uint16(data))&0xfff)
		l.add(", ")
		kind = int(binary.BigEndian.Uint16(data[2:]))
		data, size = data[tag:], size-tag
	}

	switch kind {
	case typeIPv4:
		l.addIPv4(data, size)
	case typeIPv6:
		l.addIPv6(data, size)
	case typeARP:
		l.addARP(data, size)
	default:
		l.addHex("ethertype ", kind)
		l.addNumber(", length ", max(size, 0))
	}
}

// addRaw adds a packet that no link's header precedes: its first bits tell the version.
func (l *line) addRaw(data []byte, size int) {
	switch {
	case len(data) > 0 && data[0]>>4 == 4:
		l.addIPv4(data, size)
	case len(data) > 0 && data[0]>>4 == 6:
		l.addIPv6(data, size)
	default:
		l.addNumber("not IP, length ", size)
	}
}

// addARP adds a question for an address's hardware address, or the answer.
func (l *line) addARP(data []byte, size int) {
	const (
		length         = 28
		request, reply = 1, 2
	)

	l.add("ARP, ")
	if len(data) < length || data[4] != 6 || data[5] != 4 {
		l.addTruncated("arp")
		return
	}

	sender, target := addressOf(data[14:18]), addressOf(data[24:28])
	switch operation := binary.BigEndian.Uint16(data[6:]); operation {
	case request:
		l.addARPRequest(sender, target)
	case reply:
		l.add("Reply ")
		l.addAddress(sender)
		l.add(" is-at ")
		l.add(net.HardwareAddr(data[8:14]).String())
	default:
		l.add(fmt.Sprintf("operation %d", operation))
	}

	l.addNumber(", length ", max(size, 0))
}

// addARPRequest adds who asks for whose hardware address.
func (l *line) addARPRequest(sender, target netip.Addr) {
	l.add("Request who-has ")
	l.addAddress(target)
	l.add(" tell ")
	l.addAddress(sender)
}

// addressOf returns the address that some bytes are: 4 or 16 of them.
func addressOf(raw []byte) netip.Addr {
	address, _ := netip.AddrFromSlice(raw)

	return address
}
