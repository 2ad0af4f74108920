package packets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"kdiag/applets"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

const (
	// blockSize holds several packets of the largest snap length.
	blockSize = 512 << 10
	// maxBlocks and allBlocks bound the ring of one interface, and of all together: 16 and 64 MiB.
	maxBlocks = 32
	allBlocks = 128
	minBlocks = 2
	// retireTime is how long the kernel may keep packets back in a block that is not full.
	retireTime = 25 * time.Millisecond
)

// ring is a packet socket bound to one interface, with the ring in which the kernel puts its packets
// (packet(7); Documentation/networking/packet_mmap.rst, TPACKET_V3).
type ring struct {
	source
	fd     int
	memory []byte
	next   int // the block that is filled next
	counts wire.PacketStatistics
}

// openRing opens the socket of an interface. Its filter is there before its first packet.
func openRing(from source, blocks int) (*ring, error) {
	// Without a protocol it gets no packets yet.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, explainNoSocket(fmt.Errorf("open a packet socket: %w", err))
	}

	r := &ring{source: from, fd: fd, counts: wire.PacketStatistics{Interface: from.Number}}
	if err := r.prepare(blocks); err != nil {
		r.close()
		return nil, fmt.Errorf("capture from interface %s: %w", from.Name, err)
	}
	return r, nil
}

// explainNoSocket says what is missing where a container has no NET_RAW although it may have it.
func explainNoSocket(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return applets.WithHint(err, "the node's runtime grants no NET_RAW by default (CRI-O doesn't): "+
		"it must be added, which Pod Security allows only at level privileged")
}

// prepare gives the socket its filter and its ring, and binds it to the interface.
func (r *ring) prepare(blocks int) error {
	if err := r.setFilter(r.program); err != nil {
		return err
	}

	if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("choose TPACKET_V3: %w", err)
	}
	if err := r.mapMemory(blocks); err != nil {
		return err
	}

	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: r.index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// setFilter gives the socket a filter in place of the one it has.
func (r *ring) setFilter(p program) error {
	instructions := make([]unix.SockFilter, len(p))
	for i, each := range p {
		instructions[i] = unix.SockFilter{Code: each.Op, Jt: each.Jt, Jf: each.Jf, K: each.K}
	}

	if len(instructions) > wire.MaxFilter {
		return fmt.Errorf("the filter has %d instructions; the kernel takes %d", len(instructions), wire.MaxFilter)
	}
	all := unix.SockFprog{Len: uint16(len(instructions)), Filter: &instructions[0]}
	if err := unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &all); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	return nil
}

// mapMemory makes the ring, of fewer blocks if the node is short of memory.
func (r *ring) mapMemory(blocks int) error {
	for ; ; blocks /= 2 {
		err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
			Block_size: blockSize, Block_nr: uint32(blocks), Frame_size: blockSize, Frame_nr: uint32(blocks),
			Retire_blk_tov: uint32(retireTime.Milliseconds()),
		})
		if err == nil {
			break
		}
		if blocks/2 < minBlocks {
			return fmt.Errorf("make the ring: %w", err)
		}
	}

	memory, err := unix.Mmap(r.fd, 0, blocks*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	r.memory = memory
	return nil
}

// close gives the memory back.
func (r *ring) close() {
	if r.memory != nil {
		_ = unix.Munmap(r.memory)
	}
	_ = unix.Close(r.fd)
}

// blockHeader returns the header of the block that is filled next.
func (r *ring) blockHeader() (*unix.TpacketHdrV1, []byte) {
	block := r.memory[r.next*blockSize:][:blockSize]
	return (*unix.TpacketHdrV1)(unsafe.Pointer(&block[unsafe.Offsetof(unix.TpacketBlockDesc{}.Hdr)])), block
}

// isReady reports whether the kernel has filled a block.
func (r *ring) isReady() bool {
	header, _ := r.blockHeader()
	return atomic.LoadUint32(&header.Block_status)&unix.TP_STATUS_USER != 0
}

// takeBlock appends the packets of a block that is ready, as records, and gives it back to the kernel.
func (r *ring) takeBlock(dst []byte) []byte {
	header, block := r.blockHeader()
	at := header.Offset_to_first_pkt
	for range header.Num_pkts {
		packet := (*unix.Tpacket3Hdr)(unsafe.Pointer(&block[at]))
		dst = wire.AppendPacket(dst, r.readPacket(packet, block[at:]))
		r.counts.Sent++
		at += packet.Next_offset
	}

	atomic.StoreUint32(&header.Block_status, unix.TP_STATUS_KERNEL)
	r.next = (r.next + 1) % (len(r.memory) / blockSize)
	return dst
}

// addressAt is where a frame's sockaddr_ll is: after the header, aligned to 16 bytes. The packet's
// type is in its byte 10.
const (
	addressAt    = (unix.SizeofTpacket3Hdr + 15) &^ 15
	packetTypeAt = addressAt + 10
)

// readPacket describes the packet of a frame.
func (r *ring) readPacket(header *unix.Tpacket3Hdr, frame []byte) wire.CapturedPacket {
	kind := frame[packetTypeAt]
	p := wire.CapturedPacket{
		Interface: r.Number, Time: time.Unix(int64(header.Sec), int64(header.Nsec)), Length: header.Len,
		Outgoing: kind == unix.PACKET_OUTGOING, Incoming: kind != unix.PACKET_OUTGOING && kind != unix.PACKET_OTHERHOST,
		ChecksumMissing: header.Status&unix.TP_STATUS_CSUMNOTREADY != 0,
		Data:            frame[header.Mac:][:header.Snaplen],
	}

	if header.Status&unix.TP_STATUS_VLAN_VALID != 0 && len(p.Data) >= tagAt && r.LinkType == wire.LinkEthernet {
		p.Data = insertTag(p.Data, header)
		p.Length += tagLength
	}
	return p
}

const (
	tagAt     = 12
	tagLength = 4
)

// insertTag puts a VLAN tag, which the kernel keeps beside the packet, back where it was on the wire.
func insertTag(data []byte, header *unix.Tpacket3Hdr) []byte {
	protocol := uint16(unix.ETH_P_8021Q)
	if header.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		protocol = header.Hv1.Vlan_tpid
	}

	tagged := append(make([]byte, 0, len(data)+tagLength), data[:tagAt]...)
	tagged = binary.BigEndian.AppendUint16(tagged, protocol)
	tagged = binary.BigEndian.AppendUint16(tagged, uint16(header.Hv1.Vlan_tci))
	return append(tagged, data[tagAt:]...)
}

// readCounts adds what the kernel has counted since it was asked last.
func (r *ring) readCounts() error {
	counted, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return fmt.Errorf("read the statistics of interface %s: %w", r.Name, err)
	}

	// Those that were dropped are among the packets, too (net/packet/af_packet.c).
	r.counts.Received += uint64(counted.Packets)
	r.counts.Dropped += uint64(counted.Drops)
	r.counts.Time = time.Now()
	return nil
}

// isDrained reports whether every packet that the kernel took was sent or counted as dropped.
func (r *ring) isDrained() bool {
	return !r.isReady() && r.counts.Received == r.counts.Dropped+r.counts.Sent
}
