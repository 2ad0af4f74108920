package packetfilter

import (
	"encoding/binary"
	"net/netip"
)

// A frame is made in layers, each of which carries the next.
type layer func(payload []byte) []byte

// stack puts layers around a payload, the first one outermost.
func stack(payload string, layers ...layer) []byte {
	frame := []byte(payload)
	for n := len(layers) - 1; n >= 0; n-- {
		frame = layers[n](frame)
	}
	return frame
}

// ethernet puts an Ethernet header before a payload; the addresses end in two bytes.
func ethernet(dst, src byte, kind uint16) layer {
	return func(payload []byte) []byte {
		header := []byte{0x02, 0x42, 0x0a, 0, 0, dst, 0x02, 0x42, 0x0a, 0, 0, src}
		if dst == 0xff {
			copy(header, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		}
		if dst == 0xfe {
			copy(header, []byte{0x33, 0x33, 0, 0, 0, 1})
		}
		return append(binary.BigEndian.AppendUint16(header, kind), payload...)
	}
}

// ip4 puts an IPv4 header before a payload, with words of options, and a fragment's field.
func ip4(src, dst string, protocol byte, options int, fragment uint16) layer {
	return func(payload []byte) []byte {
		header := make([]byte, 20+4*options)
		header[0] = 0x40 | byte(5+options)
		binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(payload)))
		binary.BigEndian.PutUint16(header[6:], fragment)
		header[8], header[9] = 64, protocol
		from, to := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
		copy(header[12:], from[:])
		copy(header[16:], to[:])
		return append(header, payload...)
	}
}

// ip6 puts an IPv6 header before a payload.
func ip6(src, dst string, next byte) layer {
	return func(payload []byte) []byte {
		header := make([]byte, 8, 40)
		header[0], header[6], header[7] = 0x60, next, 64
		binary.BigEndian.PutUint16(header[4:], uint16(len(payload)))
		from, to := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
		return append(append(append(header, from[:]...), to[:]...), payload...)
	}
}

// fragment6 puts a fragment header of IPv6 before a payload.
func fragment6(next byte, offset uint16) layer {
	return func(payload []byte) []byte {
		return append([]byte{next, 0, byte(offset >> 8), byte(offset), 0, 0, 0, 1}, payload...)
	}
}

// tcp puts a TCP header before a payload.
func tcp(src, dst uint16, flags byte) layer {
	return func(payload []byte) []byte {
		header := make([]byte, 20)
		binary.BigEndian.PutUint16(header, src)
		binary.BigEndian.PutUint16(header[2:], dst)
		header[7], header[12], header[13] = 77, 0x50, flags
		return append(header, payload...)
	}
}

// udp puts a UDP header before a payload.
func udp(src, dst uint16) layer {
	return func(payload []byte) []byte {
		header := make([]byte, 8)
		binary.BigEndian.PutUint16(header, src)
		binary.BigEndian.PutUint16(header[2:], dst)
		binary.BigEndian.PutUint16(header[4:], uint16(8+len(payload)))
		return append(header, payload...)
	}
}

// raw puts bytes before a payload.
func raw(header ...byte) layer {
	return func(payload []byte) []byte { return append(header, payload...) }
}

// arp returns the body of an ARP packet.
func arp(operation byte, src, dst string) layer {
	from, to := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	body := append([]byte{0, 1, 8, 0, 6, 4, 0, operation, 2, 0x42, 0x0a, 0, 0, 1}, from[:]...)
	return raw(append(append(body, 0, 0, 0, 0, 0, 0), to[:]...)...)
}

const (
	hostA, hostB, hostC = "10.0.0.1", "10.0.0.2", "192.168.7.9"
	host6A, host6B      = "fd00::1", "fd00:0:0:1::2"
	long                = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
)

// corpus returns frames of all kinds that filters tell apart.
func corpus() [][]byte {
	ip4Frame, ip6Frame := ethernet(2, 1, typeIP4), ethernet(2, 1, typeIP6)
	frames := [][]byte{
		stack("", ethernet(0xff, 1, typeARP), arp(1, hostA, hostB)),
		stack("", ethernet(1, 2, typeARP), arp(2, hostB, hostA)),
		stack("", ethernet(0xff, 1, typeRARP), arp(3, hostC, hostA)),
		stack("x", ethernet(2, 1, 0x88cc)),
		stack(long, ethernet(2, 1, 0x0026), raw(0xaa, 0xaa, 3, 0, 0, 0, 8, 0)),
		stack(long, ethernet(2, 1, 0x8100), raw(0, 5, 8, 0), ip4(hostA, hostB, protoTCP, 0, 0), tcp(1, 80, 2)),
		stack(long, ethernet(0xfe, 1, typeIP6), ip6(host6A, "ff02::1", protoICMP6), raw(135, 0)),
		stack(long, ethernet(0xff, 3, typeIP4), ip4(hostC, "255.255.255.255", protoUDP, 0, 0), udp(68, 67)),
		stack(long, ethernet(0xfe, 3, typeIP4), ip4(hostC, "224.0.0.251", protoUDP, 0, 0), udp(5353, 5353)),
		stack(long, ethernet(0xfe, 3, typeIP4), ip4(hostC, "224.0.0.1", 2, 1, 0), raw(0x11, 0)),
		stack(long, ip4Frame, ip4(hostA, hostB, protoUDP, 0, 0x2000), udp(53, 4000)),
		stack(long, ip4Frame, ip4(hostA, hostB, protoUDP, 0, 0x0010), udp(53, 4000)),
		stack(long, ip6Frame, ip6(host6A, host6B, protoFragment), fragment6(protoUDP, 0), udp(53, 4000)),
		stack(long, ip6Frame, ip6(host6A, host6B, protoFragment), fragment6(protoTCP, 0x100), tcp(53, 80, 2)),
		stack("", ip4Frame, ip4(hostA, hostB, protoTCP, 0, 0), raw(0, 80)),
		stack(long, ip4Frame, ip4(hostA, hostB, protoSCTP, 0, 0), udp(80, 8080)),
		stack(long, ip4Frame, ip4(hostA, hostB, 50, 0, 0), raw(1, 2, 3, 4)),
		stack(long, ip6Frame, ip6(host6A, host6B, 51), raw(1, 2, 3, 4)),
		stack(long, ip4Frame, ip4(hostB, hostC, 112, 0, 0), raw(1, 2, 3, 4)),
		stack(long, ip4Frame, ip4(hostB, hostC, 103, 0, 0), raw(1, 2, 3, 4)),
		{2, 0x42, 0x0a, 0, 0, 2, 2, 0x42, 0x0a, 0, 0, 1, 8, 0},
	}

	for _, flags := range []byte{2, 0x12, 0x10, 0x18, 0x11, 4, 0xc2, 0} {
		for _, ports := range [][2]uint16{{40000, 80}, {80, 40000}, {443, 8080}, {53, 8081}} {
			frames = append(frames,
				stack("data"[:flags%5], ip4Frame, ip4(hostA, hostB, protoTCP, int(flags)%3, 0), tcp(ports[0], ports[1], flags)),
				stack(long[:flags%64], ip6Frame, ip6(host6B, host6A, protoTCP), tcp(ports[0], ports[1], flags)))
		}
	}
	for _, ports := range [][2]uint16{{40000, 53}, {53, 40000}, {80, 443}, {8079, 8082}} {
		frames = append(frames,
			stack(long[:ports[1]%90], ethernet(1, 2, typeIP4), ip4(hostC, hostA, protoUDP, 1, 0), udp(ports[0], ports[1])),
			stack(long, ip6Frame, ip6(host6A, host6B, protoUDP), udp(ports[0], ports[1])))
	}
	for _, kind := range []byte{0, 3, 5, 8, 11} {
		frames = append(frames,
			stack(long[:kind*9], ip4Frame, ip4(hostB, hostA, protoICMP, int(kind)%2, 0), raw(kind, kind/2, 0, 0)),
			stack(long[:kind*9], ip6Frame, ip6(host6B, host6A, protoICMP6), raw(kind+128, kind/2, 0, 0)))
	}
	return frames
}
