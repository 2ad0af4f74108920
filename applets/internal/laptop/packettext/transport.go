package packettext

import (
	"bytes"
	"encoding/binary"
)

// addTCP adds a segment: ports, flags, numbers and the length of its data. The numbers are those of
// the wire, as tcpdump -S shows them.
func (l *line) addTCP(d datagram) {
	const minimum = 20
	if len(d.payload) < minimum {
		l.addAddresses(d)
		l.addTruncated("tcp")
		return
	}

	source, destination := ports(d.payload)
	l.addPorts(d, source, destination)

	flags, header := d.payload[13], int(d.payload[12]>>4)*4
	if header < minimum || header > d.size {
		l.add("TCP, bad header length")
		return
	}

	length := d.size - header
	l.addFlags(flags)
	l.addSequence(d.payload, flags, length)
	l.addNumber(", win ", int(binary.BigEndian.Uint16(d.payload[14:])))
	l.addNumber(", length ", length)

	if len(d.payload) > header {
		l.addStream(source, destination, d.payload[header:])
	}
}

// ports returns the two ports that a transport's header begins with.
func ports(header []byte) (source, destination uint16) {
	return binary.BigEndian.Uint16(header), binary.BigEndian.Uint16(header[2:])
}

const (
	flagFin = 1 << iota
	flagSyn
	flagReset
	_
	flagAck
)

// addFlags adds a segment's flags, as tcpdump spells them.
func (l *line) addFlags(flags byte) {
	const letters = "FSRP.UEW"

	l.add("Flags [")
	if flags == 0 {
		l.add("none")
	}

	for i := range len(letters) {
		if flags&(1<<i) != 0 {
			l.text = append(l.text, letters[i])
		}
	}
	l.add("]")
}

// addSequence adds which bytes of the stream a segment has, and which it acknowledges.
func (l *line) addSequence(header []byte, flags byte, length int) {
	sequence := binary.BigEndian.Uint32(header[4:])
	if length > 0 || flags&(flagFin|flagSyn|flagReset) != 0 {
		l.addNumber(", seq ", int(sequence))
	}

	if length > 0 {
		l.addNumber(":", int(sequence+uint32(length)))
	}

	if flags&flagAck != 0 {
		l.addNumber(", ack ", int(binary.BigEndian.Uint32(header[8:])))
	}
}

// addStream adds what a segment's data begins with, if it is DNS or the first line of HTTP.
func (l *line) addStream(source, destination uint16, data []byte) {
	if isDNS(source, destination) {
		const prefix = 2
		if len(data) > prefix {
			l.add(": ")
			l.addDNS(data[prefix:], int(binary.BigEndian.Uint16(data)))
		}
		return
	}

	if first := httpLine(data); first != nil {
		l.add(": HTTP: ")
		l.addText(string(first))
	}
}

// httpLine returns the first line of a request or a response, nil if data is neither.
func httpLine(data []byte) []byte {
	const maxLine = 512
	first := data[:min(len(data), maxLine)]
	if end := bytes.IndexByte(first, '\n'); end >= 0 {
		first = bytes.TrimSuffix(first[:end], []byte("\r"))
	}

	if bytes.HasPrefix(first, []byte("HTTP/1.")) {
		return first
	}

	method, _, found := bytes.Cut(first, []byte(" "))
	if !found || !isMethod(string(method)) {
		return nil
	}

	return first
}

// isMethod reports whether a word is one of HTTP's methods, or the preface of HTTP/2.
func isMethod(word string) bool {
	switch word {
	case "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PRI":
		return true
	}

	return false
}

// addUDP adds a datagram: ports and length, and what DNS it has.
func (l *line) addUDP(d datagram) {
	const header = 8
	if len(d.payload) < header {
		l.addAddresses(d)
		l.addTruncated("udp")
		return
	}

	source, destination := ports(d.payload)
	l.addPorts(d, source, destination)

	data, length := d.payload[header:], max(d.size-header, 0)
	if isDNS(source, destination) && len(data) > 0 {
		l.addDNS(data, length)
		return
	}

	l.addNumber("UDP, length ", length)
}
