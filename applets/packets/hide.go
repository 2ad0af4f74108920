package packets

import "kdiag/mux/wire"

// Classic BPF, by the names of linux/bpf_common.h and linux/filter.h.
const (
	loadHalf         = 0x28 // ldh [k]
	loadByte         = 0x30 // ldb [k]
	loadHalfIndexed  = 0x48 // ldh [x+k]
	loadHeaderLength = 0xb1 // ldxb 4*([k]&0xf)
	loadWord         = 0x20 // ld [k]
	jump             = 0x05 // ja k
	jumpEqual        = 0x15 // jeq #k
	jumpSet          = 0x45 // jset #k
	returnValue      = 0x06 // ret #k

	packetTypeOffset = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
	outgoingType     = 4              // PACKET_OUTGOING of linux/if_packet.h
)

// The fields of frames on loopback that are looked at.
const (
	etherTypeAt  = 12
	networkAt    = 14
	etherTypeIP4 = 0x0800
	etherTypeIP6 = 0x86dd
	protocolTCP  = 6
	// fragmentAt and protocolAt are of IPv4, nextHeaderAt and portsAt6 of IPv6.
	fragmentAt   = networkAt + 6
	protocolAt   = networkAt + 9
	nextHeaderAt = networkAt + 6
	portsAt6     = networkAt + 40
)

type program []wire.FilterInstruction

func one(op uint16, k uint32) program { return program{{Op: op, K: k}} }

// unless returns instructions that skip rest unless the loaded value equals k.
func unless(k uint32, rest program) program {
	return append(program{{Op: jumpEqual, Jt: 1, K: k}, {Op: jump, K: uint32(len(rest))}}, rest...)
}

// filterLoopback returns a filter's program as it is on loopback, where the kernel shows each packet
// twice: those that go out are left out, as tcpdump does, and so are TCP packets from and to the
// ports that are hidden.
func filterLoopback(filter program, hidden []uint16) program {
	all := one(loadWord, packetTypeOffset)
	all = append(all, unless(outgoingType, one(returnValue, 0))...)

	if len(hidden) > 0 {
		all = append(all, one(loadHalf, etherTypeAt)...)
		all = append(all, unless(etherTypeIP4, dropTCP4(hidden))...)
		all = append(all, one(loadHalf, etherTypeAt)...)
		all = append(all, unless(etherTypeIP6, dropTCP6(hidden))...)
	}
	return append(all, filter...)
}

// dropTCP4 drops IPv4 packets from and to ports. Later fragments have no ports.
func dropTCP4(ports []uint16) program {
	check := one(loadHeaderLength, networkAt)
	check = append(check, dropPorts(loadHalfIndexed, networkAt, ports)...)
	check = append(check, dropPorts(loadHalfIndexed, networkAt+2, ports)...)

	const offsetBits = 0x1fff
	first := append(one(loadHalf, fragmentAt), program{
		{Op: jumpSet, Jf: 1, K: offsetBits}, {Op: jump, K: uint32(len(check))},
	}...)
	return append(one(loadByte, protocolAt), unless(protocolTCP, append(first, check...))...)
}

// dropTCP6 drops IPv6 packets from and to ports.
func dropTCP6(ports []uint16) program {
	check := append(dropPorts(loadHalf, portsAt6, ports), dropPorts(loadHalf, portsAt6+2, ports)...)
	return append(one(loadByte, nextHeaderAt), unless(protocolTCP, check)...)
}

// dropPorts drops a packet that has one of the ports in a field.
func dropPorts(load uint16, at uint32, ports []uint16) program {
	check := one(load, at)
	for _, port := range ports {
		check = append(check, program{{Op: jumpEqual, Jf: 1, K: uint32(port)}, {Op: returnValue}}...)
	}
	return check
}
