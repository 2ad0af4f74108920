// Package pcapng writes capture files that Wireshark, tshark and tcpdump read: packets of several
// interfaces with their times in nanoseconds, directions and comments, names for addresses, and
// what the kernel counted. The format is draft-ietf-opsawg-pcapng.
//
// It is our own because gopacket's writer, the only one that is kept well, cannot write names and
// adds 1.8 MB to the binary, for the tables of its decoders.
package pcapng

import "time"

// LinkTypeEthernet and the others are the link types that a pod's interfaces have, by their
// numbers in files (https://www.tcpdump.org/linktypes.html).
const (
	LinkTypeEthernet    = 1
	LinkTypeRaw         = 101
	LinkTypeLinuxCooked = 113
	LinkTypeLinuxSLL2   = 276
)

// Interface describes where packets come from.
type Interface struct {
	Name        string
	Description string
	LinkType    uint16
	// SnapLen is how many bytes of a packet are captured at most, 0 for all of them.
	SnapLen uint32
	// Filter is the filter that the user gave, as text.
	Filter string
}

// Packet is one packet as it was captured.
type Packet struct {
	// Interface is what AddInterface returned.
	Interface int
	Time      time.Time
	// Length counts the bytes that the packet had on the wire; Data can be shorter.
	Length int
	Data   []byte
	// Outgoing and Incoming tell the direction, as the pod sees it. Neither is set if it is
	// unknown.
	Outgoing bool
	Incoming bool
	Comment  string
}
