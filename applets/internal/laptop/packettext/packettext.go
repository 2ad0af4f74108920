// Package packettext writes packets as lines for people, as tcpdump -n does.
package packettext

import (
	"net/netip"

	"kdiag/applets/internal/laptop/pcapng"
)

// Append adds one line for a packet, with its line end. Names stand in the place of the addresses
// that have them.
func Append(
	dst []byte, p pcapng.Packet, interfaceName string, names map[netip.Addr]string,
) []byte {
	_ = names
	dst = p.Time.AppendFormat(dst, "15:04:05.000000")
	dst = append(append(dst, ' '), interfaceName...)

	return append(dst, '\n')
}
