package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// "kdiag packets" captures the packets of a pod's network. The laptop first writes a
// PacketsRequest to its stdin, as one line of JSON. The pod answers with records on stdout. The
// laptop ends a capture with StopPackets on stdin: the pod then sends what it still has, the last
// statistics and the end. It exits when its stdin ends, at any time.
//
// Each record is a byte for its kind, the length of its content as 4 bytes, and the content. All
// numbers are big-endian.

// PacketRecord says what a record of "kdiag packets" holds. A reader skips kinds that it does not
// know.
type PacketRecord byte

const (
	// RecordInterface holds a PacketInterface in JSON. It comes before the interface's packets.
	RecordInterface PacketRecord = 'I'
	// RecordPacket holds a CapturedPacket.
	RecordPacket PacketRecord = 'P'
	// RecordStatistics holds PacketStatistics of one interface, as they are at that time.
	RecordStatistics PacketRecord = 'S'
	// RecordNote holds text for the user: one line.
	RecordNote PacketRecord = 'N'
	// RecordEnd says that nothing was left out. Its content is empty.
	RecordEnd PacketRecord = 'E'
)

const (
	// MaxSnapLen bounds the bytes that are captured of a packet, as tcpdump does.
	MaxSnapLen = 262144
	// MaxPacketRecord bounds the content of a record.
	MaxPacketRecord = MaxSnapLen + packetHeader
	// MaxPacketsRequest bounds the line of a PacketsRequest.
	MaxPacketsRequest = 1 << 20
	// MaxFilter is the number of instructions that the kernel takes in a filter (BPF_MAXINSNS).
	MaxFilter = 4096
	// MaxHiddenPorts bounds the ports that are left out.
	MaxHiddenPorts = 64
	// MaxInterfaces bounds the interfaces of one capture.
	MaxInterfaces = 64
	// StopPackets is the line that ends a capture.
	StopPackets = "stop"
)

// These link types, as pcapng numbers them, are captured.
const (
	LinkEthernet uint16 = 1
	LinkRaw      uint16 = 101
)

// PacketsRequest says what is captured.
type PacketsRequest struct {
	// Interface names the only interface to capture from; empty for all that are up.
	Interface string `json:"interface,omitempty"`
	// HiddenPorts lists TCP ports on loopback whose packets are left out: those of kdiag's managers.
	HiddenPorts []uint16 `json:"hiddenPorts,omitempty"`
	// SnapLen bounds the bytes that are captured of a packet.
	SnapLen uint32 `json:"snapLen"`
	// Filters holds the kernel's program for each link type. Interfaces of others are left out.
	Filters []PacketFilter `json:"filters"`
}

// PacketFilter is a filter for one link type: a program of classic BPF.
type PacketFilter struct {
	LinkType uint16              `json:"linkType"`
	Program  []FilterInstruction `json:"program"`
}

// FilterInstruction is one instruction: its code, how far it jumps if its condition is true or
// false, and its operand.
type FilterInstruction struct {
	Op uint16 `json:"op"`
	Jt uint8  `json:"jt,omitempty"`
	Jf uint8  `json:"jf,omitempty"`
	K  uint32 `json:"k,omitempty"`
}

// PacketInterface describes an interface of the pod.
type PacketInterface struct {
	// Number is what packets and statistics name it by. The first one is 0.
	Number   uint16 `json:"number"`
	Name     string `json:"name"`
	LinkType uint16 `json:"linkType"`
	// MTU and Address tell people more about it. Either may be empty.
	MTU     int    `json:"mtu,omitempty"`
	Address string `json:"address,omitempty"`
}

// CapturedPacket is one packet. Data is only valid until the next record is read.
type CapturedPacket struct {
	Interface uint16
	Time      time.Time
	// Length is that of the packet on the wire. Data may be shorter.
	Length   uint32
	Outgoing bool
	// Incoming says that it came from outside. A packet may be neither, such as another host's.
	Incoming bool
	// ChecksumMissing says that the kernel left the checksum to the hardware.
	ChecksumMissing bool
	Data            []byte
}

// PacketStatistics counts the packets of one interface since the capture began.
type PacketStatistics struct {
	Interface uint16
	Time      time.Time
	// Received counts those that the filter took, Dropped those of them that the kernel dropped
	// because nobody read them in time.
	Received, Dropped uint64
	// Sent counts the records with its packets.
	Sent uint64
}

const (
	recordHeader     = 1 + 4
	packetHeader     = 2 + 1 + 8 + 4
	statisticsLength = 2 + 8 + 3*8
)

// The bits of the byte with a packet's flags.
const (
	flagOutgoing byte = 1 << iota
	flagIncoming
	flagChecksumMissing
)

// appendRecordHeader appends what a record begins with.
func appendRecordHeader(dst []byte, kind PacketRecord, length int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(kind)), uint32(length))
}

// AppendInterface appends a record.
func AppendInterface(dst []byte, i PacketInterface) ([]byte, error) {
	content, err := json.Marshal(i)
	if err != nil {
		return dst, err
	}
	return append(appendRecordHeader(dst, RecordInterface, len(content)), content...), nil
}

// AppendPacket appends a record. It cuts data that is longer than MaxSnapLen.
func AppendPacket(dst []byte, p CapturedPacket) []byte {
	data := p.Data[:min(len(p.Data), MaxSnapLen)]

	dst = appendRecordHeader(dst, RecordPacket, packetHeader+len(data))
	dst = append(binary.BigEndian.AppendUint16(dst, p.Interface), p.flags())
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Time.UnixNano()))
	dst = binary.BigEndian.AppendUint32(dst, p.Length)
	return append(dst, data...)
}

// flags returns the packet's flags as a byte.
func (p CapturedPacket) flags() (flags byte) {
	if p.Outgoing {
		flags |= flagOutgoing
	}
	if p.Incoming {
		flags |= flagIncoming
	}
	if p.ChecksumMissing {
		flags |= flagChecksumMissing
	}
	return flags
}

// AppendStatistics appends a record.
func AppendStatistics(dst []byte, s PacketStatistics) []byte {
	dst = appendRecordHeader(dst, RecordStatistics, statisticsLength)
	dst = binary.BigEndian.AppendUint16(dst, s.Interface)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Time.UnixNano()))
	for _, count := range []uint64{s.Received, s.Dropped, s.Sent} {
		dst = binary.BigEndian.AppendUint64(dst, count)
	}
	return dst
}

// AppendNote appends a record with text for the user.
func AppendNote(dst []byte, text string) []byte {
	text = OneLine(text)
	return append(appendRecordHeader(dst, RecordNote, len(text)), text...)
}

// AppendEnd appends the last record.
func AppendEnd(dst []byte) []byte { return appendRecordHeader(dst, RecordEnd, 0) }

// A PacketReader reads records. After each Next the record is in the field of its kind.
type PacketReader struct {
	in      *bufio.Reader
	content []byte

	Interface  PacketInterface
	Packet     CapturedPacket
	Statistics PacketStatistics
	Note       string
}

// NewPacketReader returns a reader of what the pod sends.
func NewPacketReader(in io.Reader) *PacketReader {
	return &PacketReader{in: bufio.NewReaderSize(in, 1<<17)}
}

// Buffered returns how many bytes can be read without waiting.
func (r *PacketReader) Buffered() int { return r.in.Buffered() }

// Next reads one record and returns its kind. Its error is io.EOF at the end of a record, and
// io.ErrUnexpectedEOF within one.
func (r *PacketReader) Next() (PacketRecord, error) {
	var header [recordHeader]byte
	if _, err := io.ReadFull(r.in, header[:]); err != nil {
		return 0, err
	}

	kind, length := PacketRecord(header[0]), binary.BigEndian.Uint32(header[1:])
	if length > MaxPacketRecord {
		return 0, fmt.Errorf("a record of %d bytes came from the pod; the limit is %d", length, MaxPacketRecord)
	}

	if cap(r.content) < int(length) {
		r.content = make([]byte, length)
	}
	r.content = r.content[:length]
	if _, err := io.ReadFull(r.in, r.content); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}

	return kind, r.parse(kind)
}

// parse reads the content of a record into the field of its kind.
func (r *PacketReader) parse(kind PacketRecord) error {
	switch kind {
	case RecordInterface:
		r.Interface = PacketInterface{}
		if err := json.Unmarshal(r.content, &r.Interface); err != nil {
			return fmt.Errorf("read the record of an interface: %w", err)
		}
	case RecordPacket:
		return r.parsePacket()
	case RecordStatistics:
		return r.parseStatistics()
	case RecordNote:
		r.Note = OneLine(string(r.content))
	}

	return nil
}

func (r *PacketReader) parsePacket() error {
	b := r.content
	if len(b) < packetHeader {
		return fmt.Errorf("the record of a packet has only %d bytes", len(b))
	}

	r.Packet = CapturedPacket{
		Interface: binary.BigEndian.Uint16(b), Time: time.Unix(0, int64(binary.BigEndian.Uint64(b[3:]))),
		Length: binary.BigEndian.Uint32(b[11:]), Data: b[packetHeader:],
		Outgoing: b[2]&flagOutgoing != 0, Incoming: b[2]&flagIncoming != 0,
		ChecksumMissing: b[2]&flagChecksumMissing != 0,
	}
	return nil
}

func (r *PacketReader) parseStatistics() error {
	b := r.content
	if len(b) != statisticsLength {
		return fmt.Errorf("the record of statistics has %d bytes, not %d", len(b), statisticsLength)
	}

	r.Statistics = PacketStatistics{
		Interface: binary.BigEndian.Uint16(b), Time: time.Unix(0, int64(binary.BigEndian.Uint64(b[2:]))),
		Received: binary.BigEndian.Uint64(b[10:]), Dropped: binary.BigEndian.Uint64(b[18:]),
		Sent: binary.BigEndian.Uint64(b[26:]),
	}
	return nil
}
