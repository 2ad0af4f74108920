package packettext

import "encoding/binary"

// messageHeader is how long the header of a message of ICMP is, of either version.
const messageHeader = 8

// addICMP adds a message of ICMP.
func (l *line) addICMP(d datagram) {
	const (
		echoReply, unreachable, redirect, echoRequest, timeExceeded = 0, 3, 5, 8, 11
	)

	l.add("ICMP ")
	if len(d.payload) < messageHeader {
		l.addTruncated("icmp")
		return
	}

	switch kind := d.payload[0]; kind {
	case echoReply:
		l.addEcho("echo reply", d.payload)
	case echoRequest:
		l.addEcho("echo request", d.payload)
	case unreachable:
		l.addUnreachable(d.payload)
	case redirect:
		l.add("redirect to ")
		l.addAddress(addressOf(d.payload[4:8]))
	case timeExceeded:
		l.add("time exceeded in transit")
	default:
		l.addKind(d.payload)
	}

	l.addNumber(", length ", d.size)
}

// addEcho adds a question for an echo, or the echo.
func (l *line) addEcho(name string, message []byte) {
	l.add(name)
	l.addNumber(", id ", int(binary.BigEndian.Uint16(message[4:])))
	l.addNumber(", seq ", int(binary.BigEndian.Uint16(message[6:])))
}

// addKind adds a message by its numbers.
func (l *line) addKind(message []byte) {
	l.addNumber("type ", int(message[0]))
	l.addNumber(" code ", int(message[1]))
}

// addUnreachable adds what cannot be reached, and why: the message has the packet's beginning.
func (l *line) addUnreachable(message []byte) {
	const network, protocol, port, tooLarge, isolated, prohibited = 0, 2, 3, 4, 9, 13
	const addressEnd = 20

	returned := message[messageHeader:]
	if len(returned) < addressEnd {
		l.addKind(message)
		return
	}

	code, destination := int(message[1]), addressOf(returned[16:addressEnd])
	switch code {
	case protocol:
		l.addAddress(destination)
		l.addNumber(" protocol ", int(returned[9]))
	case port:
		l.addAddress(destination)
		header := int(returned[0]&0xf) * 4
		l.addReturnedPort(int(returned[9]), returned[min(header, len(returned)):])
	case tooLarge:
		l.addAddress(destination)
	case network, isolated:
		l.add("net ")
		l.addAddress(destination)
	default:
		l.add("host ")
		l.addAddress(destination)
	}

	l.add(" unreachable")
	switch code {
	case tooLarge:
		l.addNumber(" - need to frag (mtu ", int(binary.BigEndian.Uint16(message[6:])))
		l.add(")")
	case isolated, isolated + 1, prohibited:
		l.add(" - admin prohibited")
	}
}

// addReturnedPort adds the protocol of a packet that came back, and the port that it was sent to.
func (l *line) addReturnedPort(protocol int, header []byte) {
	const portsEnd = 4

	switch protocol {
	case protocolTCP:
		l.add(" tcp port")
	case protocolUDP:
		l.add(" udp port")
	default:
		l.addNumber(" protocol ", protocol)
		l.add(" port")
	}

	if len(header) >= portsEnd {
		_, destination := ports(header)
		l.addNumber(" ", int(destination))
	}
}

// addICMPv6 adds a message of ICMPv6.
func (l *line) addICMPv6(d datagram) {
	const (
		unreachable, tooBig, timeExceeded    = 1, 2, 3
		echoRequest, echoReply               = 128, 129
		routerSolicitation, routerAdvert     = 133, 134
		neighborSolicitation, neighborAdvert = 135, 136
		listenerReport                       = 143
	)

	l.add("ICMP6, ")
	if len(d.payload) < messageHeader {
		l.addTruncated("icmp6")
		return
	}

	switch d.payload[0] {
	case unreachable:
		l.addUnreachableV6(d.payload)
	case tooBig:
		l.addNumber("packet too big, mtu ", int(binary.BigEndian.Uint32(d.payload[4:])))
	case timeExceeded:
		l.add("time exceeded in transit")
	case echoRequest:
		l.addEcho("echo request", d.payload)
	case echoReply:
		l.addEcho("echo reply", d.payload)
	case routerSolicitation:
		l.add("router solicitation")
	case routerAdvert:
		l.add("router advertisement")
	case neighborSolicitation:
		l.addNeighbor("neighbor solicitation, who has ", d.payload)
	case neighborAdvert:
		l.addNeighbor("neighbor advertisement, tgt is ", d.payload)
	case listenerReport:
		l.add("multicast listener report v2")
	default:
		l.addKind(d.payload)
	}

	l.addNumber(", length ", d.size)
}

// addNeighbor adds the address that a message of neighbor discovery is about.
func (l *line) addNeighbor(text string, message []byte) {
	const target = 16

	l.add(text)
	if len(message) < messageHeader+target {
		l.addTruncated("icmp6")
		return
	}

	l.addAddress(addressOf(message[messageHeader : messageHeader+target]))
}

// addUnreachableV6 adds what cannot be reached, and why.
func (l *line) addUnreachableV6(message []byte) {
	const route, admin, scope, port, header = 0, 1, 2, 4, 40

	l.add("destination unreachable, unreachable ")
	code := int(message[1])
	switch code {
	case route:
		l.add("route")
	case admin:
		l.add("prohibited")
	case scope:
		l.add("beyond scope")
	case port:
		l.add("port,")
	default:
		l.add("address")
	}

	returned := message[messageHeader:]
	if len(returned) < header {
		return
	}

	l.add(" ")
	l.addAddress(addressOf(returned[24:header]))
	if code == port {
		l.addReturnedPort(int(returned[6]), returned[header:])
	}
}
