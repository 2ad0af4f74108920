package pcapng

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Writer writes one section of a capture file. Only one goroutine may use it at a time. After a
// write has failed, every further call returns that error.
type Writer struct {
	out *bufio.Writer
	// block is the block that is being made; it is kept, so that a packet allocates nothing.
	block      block
	interfaces int
	written    int64
}

// bufferSize is large enough for some packets, and for one of any size that Ethernet has.
const bufferSize = 64 << 10

// NewWriter begins a file. The comment describes the whole of it; Wireshark shows it in the
// file's properties. Nothing reaches w before the buffer is full or Flush is called.
func NewWriter(w io.Writer, comment string) *Writer {
	writer := &Writer{out: bufio.NewWriterSize(w, bufferSize)}
	writer.writeSection(comment)

	return writer
}

// Types of blocks and codes of options, as the draft numbers them.
const (
	sectionBlock    = 0x0a0d0d0a
	interfaceBlock  = 1
	namesBlock      = 4
	statisticsBlock = 5
	packetBlock     = 6

	commentOption = 1

	applicationOption = 4

	interfaceNameOption        = 2
	interfaceDescriptionOption = 3
	timeResolutionOption       = 9
	filterOption               = 11

	packetFlagsOption = 2

	endTimeOption  = 3
	receivedOption = 4
	droppedOption  = 5
)

// writeSection writes the block that a file begins with. An error of it shows with the next call:
// the buffer keeps it.
func (w *Writer) writeSection(comment string) {
	const (
		byteOrder     = 0x1a2b3c4d
		major         = 1
		minor         = 0
		unknownLength = ^uint64(0)
	)

	w.block.begin(sectionBlock)
	w.block.add32(byteOrder)
	w.block.add16(major)
	w.block.add16(minor)
	w.block.add64(unknownLength)
	w.block.addText(commentOption, comment)
	w.block.addText(applicationOption, "kdiag")
	_ = w.writeBlock()
}

// AddInterface writes an interface's description and returns its number for packets. Interfaces
// can be added at any time.
func (w *Writer) AddInterface(added Interface) (int, error) {
	const nanoseconds = 9

	w.block.begin(interfaceBlock)
	w.block.add16(added.LinkType)
	w.block.add16(0)
	w.block.add32(added.SnapLen)
	w.block.addText(interfaceNameOption, added.Name)
	w.block.addText(interfaceDescriptionOption, added.Description)
	w.block.addOption(timeResolutionOption, []byte{nanoseconds})
	if added.Filter != "" {
		const isText = "\x00"
		w.block.addText(filterOption, isText+added.Filter)
	}

	if err := w.writeBlock(); err != nil {
		return 0, err
	}

	w.interfaces++

	return w.interfaces - 1, nil
}

// WritePacket writes one packet.
func (w *Writer) WritePacket(packet Packet) error {
	if err := w.verifyInterface(packet.Interface); err != nil {
		return err
	}

	w.block.begin(packetBlock)
	w.block.add32(uint32(packet.Interface))
	w.block.addTime(packet.Time)
	w.block.add32(uint32(len(packet.Data)))
	w.block.add32(uint32(max(packet.Length, len(packet.Data))))
	w.block.addPadded(packet.Data)

	if flags := packetFlags(packet); flags != 0 {
		w.block.addOption(packetFlagsOption, []byte{flags, 0, 0, 0})
	}

	w.block.addText(commentOption, packet.Comment)

	return w.writeBlock()
}

// packetFlags returns the lowest byte of a packet's flags: its direction.
func packetFlags(packet Packet) byte {
	const inbound, outbound = 1, 2
	switch {
	case packet.Incoming:
		return inbound
	case packet.Outgoing:
		return outbound
	}

	return 0
}

// WriteNames writes names for addresses. Wireshark uses them for the whole file, tshark for the
// packets that follow. An address without names is left out.
func (w *Writer) WriteNames(names map[netip.Addr][]string) error {
	addresses := make([]netip.Addr, 0, len(names))
	for address := range names {
		addresses = append(addresses, address)
	}
	slices.SortFunc(addresses, netip.Addr.Compare)

	w.block.begin(namesBlock)
	empty := len(w.block.bytes)
	for _, address := range addresses {
		w.block.addNames(address, names[address])
	}

	if len(w.block.bytes) == empty {
		return nil
	}

	w.block.add32(0)

	return w.writeBlock()
}

// WriteStatistics writes how many packets an interface received and how many of them the kernel
// dropped, from the start until at. Of several such blocks, readers show the last.
func (w *Writer) WriteStatistics(
	number int, at time.Time, received, dropped uint64,
) error {
	if err := w.verifyInterface(number); err != nil {
		return err
	}

	w.block.begin(statisticsBlock)
	w.block.add32(uint32(number))
	w.block.addTime(at)
	w.block.addOption(endTimeOption, splitTime(at))
	w.block.addOption(receivedOption, order.AppendUint64(nil, received))
	w.block.addOption(droppedOption, order.AppendUint64(nil, dropped))

	return w.writeBlock()
}

// verifyInterface returns an error unless AddInterface has returned the number.
func (w *Writer) verifyInterface(number int) error {
	if number < 0 || number >= w.interfaces {
		return fmt.Errorf("write capture file: interface %d was not added", number)
	}

	return nil
}

// writeBlock ends the block that was made and writes it.
func (w *Writer) writeBlock() error {
	n, err := w.out.Write(w.block.end())
	w.written += int64(n)

	return err
}

// Flush writes what is in the buffer.
func (w *Writer) Flush() error { return w.out.Flush() }

// Written returns how many bytes the file has, those in the buffer too.
func (w *Writer) Written() int64 { return w.written }
