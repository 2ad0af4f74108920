package mux

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Header begins every stream but the control stream. It says which redirect a connection came
// through, from where, and where to.
type Header struct {
	Redirect            uint32
	Source, Destination netip.AddrPort
}

// headerVersion is the first byte of a header.
const headerVersion = 1

// HeaderSize is the length of an encoded header in bytes: the version, three reserved bytes, the
// redirect, and twice an IPv6 address (IPv4 is mapped, RFC 4291, 2.5.5.2) with a port.
const HeaderSize = 4 + 4 + 2*(16+2)

// Encode returns the header's bytes (SPEC.md).
func (h Header) Encode() []byte {
	b := make([]byte, 0, HeaderSize)
	b = append(b, headerVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, h.Redirect)
	for _, end := range []netip.AddrPort{h.Source, h.Destination} {
		address := [16]byte{}
		if end.Addr().IsValid() {
			address = end.Addr().As16()
		}

		b = append(b, address[:]...)
		b = binary.BigEndian.AppendUint16(b, end.Port())
	}

	return b
}

// DecodeHeader decodes a header of exactly HeaderSize bytes. Addresses have no zone, and mapped
// IPv4 addresses come back as IPv4.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) != HeaderSize {
		return Header{}, fmt.Errorf("stream header: %d bytes, not %d", len(b), HeaderSize)
	}
	if b[0] != headerVersion || b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return Header{}, fmt.Errorf("stream header: unknown version %d.%d.%d.%d", b[0], b[1], b[2], b[3])
	}

	end := func(b []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[16:]))
	}
	return Header{Redirect: binary.BigEndian.Uint32(b[4:]), Source: end(b[8:]), Destination: end(b[26:])}, nil
}
