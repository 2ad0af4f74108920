package netfilter

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
)

// nftMaps holds the maps of one manager's table. Their keys are ports, or, for
// redirects with an address, addresses and ports; their values are listeners.
type nftMaps struct{ incoming, outgoing, outgoing4, outgoing6 *nftables.Set }

func newMaps(t *nftables.Table) nftMaps {
	newMap := func(id uint32, name string, key nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{
			Table: t, ID: id, Name: name, IsMap: true,
			KeyType: key, DataType: nftables.TypeInetService, Concatenation: key.Bytes > 4,
		}
	}

	return nftMaps{
		incoming:  newMap(1, "incoming", nftables.TypeInetService),
		outgoing:  newMap(2, "outgoing", nftables.TypeInetService),
		outgoing4: newMap(3, "outgoing4", destinationType(nftables.TypeIPAddr)),
		outgoing6: newMap(4, "outgoing6", destinationType(nftables.TypeIP6Addr)),
	}
}

func (m nftMaps) all() []*nftables.Set {
	return []*nftables.Set{m.incoming, m.outgoing, m.outgoing4, m.outgoing6}
}

// elementOf returns the map that a redirect belongs to, and its element there.
func (m nftMaps) elementOf(r Redirect) (*nftables.Set, nftables.SetElement) {
	element := nftables.SetElement{Key: portBytes(r.Port), Val: portBytes(r.Listener), Comment: r.Holder}
	switch address := r.Address.Unmap(); {
	case r.Direction == Incoming:
		return m.incoming, element
	case address.Is4():
		element.Key = destinationBytes(address, r.Port)
		return m.outgoing4, element
	case address.Is6():
		element.Key = destinationBytes(address, r.Port)
		return m.outgoing6, element
	}

	return m.outgoing, element
}

// redirectOf reads back the redirect that an element stands for. It reports false
// for an element that we did not write.
func (m nftMaps) redirectOf(from *nftables.Set, e nftables.SetElement) (Redirect, bool) {
	if uint32(len(e.Key)) != from.KeyType.Bytes || len(e.Val) < 2 {
		return Redirect{}, false
	}

	r := Redirect{
		Direction: Outgoing,
		Listener:  binary.BigEndian.Uint16(e.Val),
		Holder:    sanitizeComment(e.Comment),
	}

	key := e.Key
	switch from {
	case m.incoming:
		r.Direction = Incoming
	case m.outgoing4, m.outgoing6:
		length := len(key) - 4
		r.Address, _ = netip.AddrFromSlice(key[:length])
		key = key[length:]
	}

	r.Port = binary.BigEndian.Uint16(key)
	return r, true
}

// destinationType concatenates the type of an address with that of a port.
func destinationType(address nftables.SetDatatype) nftables.SetDatatype {
	return nftables.MustConcatSetType(address, nftables.TypeInetService)
}

// destinationBytes writes an address and a port as a key of destinationType, which
// pads each of them to whole registers of 4 bytes.
func destinationBytes(address netip.Addr, port uint16) []byte {
	return append(append(address.AsSlice(), portBytes(port)...), 0, 0)
}

// portBytes writes a port in network byte order.
func portBytes(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }
