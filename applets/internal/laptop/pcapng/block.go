package pcapng

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// order is the order of bytes in our files. A reader learns it from the first block.
var order = binary.LittleEndian

// block is one block of a file while it is made.
type block struct {
	bytes []byte
	// hasOptions tells that the options need their end.
	hasOptions bool
}

// begin starts a block of a type. Its length is put in by end.
func (b *block) begin(kind uint32) {
	b.bytes, b.hasOptions = b.bytes[:0], false
	b.add32(kind)
	b.add32(0)
}

// end finishes the block and returns it. The bytes are good until the next begin.
func (b *block) end() []byte {
	if b.hasOptions {
		b.add32(0)
	}

	const trailer = 4
	length := uint32(len(b.bytes) + trailer)
	order.PutUint32(b.bytes[4:], length)
	b.add32(length)

	return b.bytes
}

func (b *block) add16(value uint16) { b.bytes = order.AppendUint16(b.bytes, value) }
func (b *block) add32(value uint32) { b.bytes = order.AppendUint32(b.bytes, value) }
func (b *block) add64(value uint64) { b.bytes = order.AppendUint64(b.bytes, value) }

// addTime adds a time, the half with the higher bits first, in whatever order the bytes are.
func (b *block) addTime(at time.Time) { b.bytes = append(b.bytes, splitTime(at)...) }

// splitTime returns a time in nanoseconds as files have it.
func splitTime(at time.Time) []byte {
	nanoseconds := uint64(at.UnixNano())
	high := order.AppendUint32(make([]byte, 0, 8), uint32(nanoseconds>>32))

	return order.AppendUint32(high, uint32(nanoseconds))
}

// addPadded adds bytes, and zeros up to the next multiple of four.
func (b *block) addPadded(value []byte) {
	b.bytes = append(b.bytes, value...)
	for len(b.bytes)%4 != 0 {
		b.bytes = append(b.bytes, 0)
	}
}

// addOption adds an option of at most maxValue bytes.
func (b *block) addOption(code uint16, value []byte) {
	b.hasOptions = true
	b.add16(code)
	b.add16(uint16(len(value)))
	b.addPadded(value)
}

// maxValue is how long an option or a record can be.
const maxValue = 1<<16 - 1

// addText adds an option that is a text, unless it is empty. A text that is too long is cut.
func (b *block) addText(code uint16, text string) {
	if text == "" {
		return
	}

	b.addOption(code, []byte(cutText(strings.ToValidUTF8(text, string(utf8.RuneError)))))
}

// cutText returns as many whole characters of a text as an option can have.
func cutText(text string) string {
	if len(text) <= maxValue {
		return text
	}

	end := maxValue
	for !utf8.RuneStart(text[end]) {
		end--
	}

	return text[:end]
}

// addNames adds records with an address and its names: one of them, unless the names are too many
// for one.
func (b *block) addNames(address netip.Addr, names []string) {
	const recordIPv4, recordIPv6 = 1, 2
	kind := uint16(recordIPv6)
	if address = address.Unmap().WithZone(""); address.Is4() {
		kind = recordIPv4
	}

	raw := address.AsSlice()
	record := raw[:len(raw):len(raw)]
	for _, name := range names {
		if !isName(name) || !address.IsValid() {
			continue
		}

		if len(record)+len(name)+1 > maxValue {
			b.addRecord(kind, record)
			record = raw[:len(raw):len(raw)]
		}

		record = append(append(record, name...), 0)
	}

	if len(record) > len(raw) {
		b.addRecord(kind, record)
	}
}

// addRecord adds one record of a block of names.
func (b *block) addRecord(kind uint16, record []byte) {
	b.add16(kind)
	b.add16(uint16(len(record)))
	b.addPadded(record)
}

// isName reports whether a text can stand in a file as a name: names end with a zero there.
func isName(text string) bool {
	const maxName = 1024

	return text != "" && len(text) <= maxName && !strings.Contains(text, "\x00") &&
		utf8.ValidString(text)
}
