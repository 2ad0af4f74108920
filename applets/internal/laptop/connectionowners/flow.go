package connectionowners

import (
	"encoding/binary"
	"net/netip"

	"kdiag/applets/internal/laptop/pcapng"
)

// Flow is where one packet of TCP or UDP comes from and goes to.
type Flow struct {
	Protocol            Protocol
	Source, Destination netip.AddrPort
}

// Protocol is the number of a transport (IANA).
type Protocol byte

// These have ports and sockets.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// FindFlow reads a packet's flow. It has none if it is not TCP or UDP, is a later fragment, or was
// captured without its ports. It goes over no extension headers.
func FindFlow(linkType uint16, data []byte) (Flow, bool) {
	const header, typeAt = 14, 12
	if linkType == pcapng.LinkTypeEthernet {
		if len(data) < header {
			return Flow{}, false
		}
		if kind := binary.BigEndian.Uint16(data[typeAt:]); kind != 0x0800 && kind != 0x86dd {
			return Flow{}, false
		}
		data = data[header:]
	}

	switch {
	case len(data) >= 20 && data[0]>>4 == 4:
		return readFlow4(data)
	case len(data) >= 40 && data[0]>>4 == 6:
		return newFlow(data[6], data[8:24], data[24:40], data[40:])
	}

	return Flow{}, false
}

// readFlow4 reads the flow of a packet of version 4.
func readFlow4(data []byte) (Flow, bool) {
	const offsetMask = 0x1fff
	header := int(data[0]&0xf) * 4
	if header < 20 || header > len(data) || binary.BigEndian.Uint16(data[6:])&offsetMask != 0 {
		return Flow{}, false
	}

	return newFlow(data[9], data[12:16], data[16:20], data[header:])
}

// newFlow returns the flow of two addresses and a transport's header.
func newFlow(protocol byte, source, destination, transport []byte) (Flow, bool) {
	if p := Protocol(protocol); p != TCP && p != UDP || len(transport) < 4 {
		return Flow{}, false
	}

	from, _ := netip.AddrFromSlice(source)
	to, _ := netip.AddrFromSlice(destination)

	return Flow{
		Protocol:    Protocol(protocol),
		Source:      netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(transport)),
		Destination: netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(transport[2:])),
	}, true
}
