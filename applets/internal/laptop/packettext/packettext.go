// Package packettext writes packets as lines for people, as tcpdump -n does. A packet comes from
// anywhere: whatever its bytes are, a line has nothing that a terminal would obey.
package packettext

import (
	"net/netip"
	"strconv"

	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/mux/wire"
)

// Append adds one line for a packet that came from an interface, with its line end. Names stand in
// the place of the addresses that have them.
func Append(
	dst []byte, p pcapng.Packet, from pcapng.Interface, names map[netip.Addr]string,
) []byte {
	l := line{text: dst, names: names}
	l.text = p.Time.AppendFormat(l.text, "15:04:05.000000")
	l.addWord(wire.Printable(from.Name))
	l.addDirection(p)

	l.add(" ")
	l.addFrame(from.LinkType, p.Data, max(p.Length, len(p.Data)))
	l.add("\n")

	return l.text
}

// line is a line while it is made.
type line struct {
	text  []byte
	names map[netip.Addr]string
	// depth counts the packets that the one at hand is inside.
	depth int
}

func (l *line) add(text string) { l.text = append(l.text, text...) }

// addNumber adds what stands before a number, and the number.
func (l *line) addNumber(before string, number int) {
	l.add(before)
	l.text = strconv.AppendInt(l.text, int64(number), 10)
}

// addHex adds what stands before a number, and the number in hexadecimal digits.
func (l *line) addHex(before string, number int) {
	l.add(before)
	l.add("0x")
	l.text = strconv.AppendUint(l.text, uint64(number), 16)
}

// addText adds a text that comes from the packet or the cluster.
func (l *line) addText(text string) { l.add(wire.Printable(text)) }

// addWord adds a word and the space before it, unless the word is empty.
func (l *line) addWord(word string) {
	if word != "" {
		l.add(" ")
		l.add(word)
	}
}

// addDirection adds where the packet went, as the pod sees it.
func (l *line) addDirection(p pcapng.Packet) {
	switch {
	case p.Incoming:
		l.add(" In ")
	case p.Outgoing:
		l.add(" Out")
	}
}

// addAddress adds an address, or the name that stands for it.
func (l *line) addAddress(address netip.Addr) {
	if name := l.names[address]; name != "" {
		l.addText(name)
		return
	}

	l.text = address.AppendTo(l.text)
}

// addTruncated says that too little of a header was captured, as tcpdump does.
func (l *line) addTruncated(protocol string) {
	l.add("[|")
	l.add(protocol)
	l.add("]")
}
