package resumable

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A frame is a header, its type in one byte and its length in three, and that many bytes.
const (
	frameData = 0
	frameAck  = 1
	frameEnd  = 2
	framePace = 3

	headerSize = 4
	ackSize    = 12
	paceSize   = 4
	maxData    = 64 << 10 // bytes of the stream in one frame
)

// appendHeader appends the header of a frame.
func appendHeader(b []byte, kind byte, length int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(kind)<<24|uint32(length))
}

// parseHeader decodes a header and refuses those that no peer may send.
func parseHeader(b []byte) (kind byte, length int, err error) {
	kind, length = b[0], int(binary.BigEndian.Uint32(b)&(1<<24-1))

	ok := false
	switch kind {
	case frameData:
		ok = length > 0 && length <= maxData
	case frameAck:
		ok = length == ackSize
	case frameEnd:
		ok = length == 0
	case framePace:
		ok = length == paceSize
	default:
		return 0, 0, fmt.Errorf("peer sent a frame of unknown type %d", kind)
	}
	if !ok {
		return 0, 0, fmt.Errorf("peer sent a frame of type %d with length %d", kind, length)
	}

	return kind, length, nil
}

// appendAck appends an acknowledgement of the bytes before position, the last of which came delay
// ago.
func appendAck(b []byte, position uint64, delay time.Duration) []byte {
	b = appendHeader(b, frameAck, ackSize)
	b = binary.BigEndian.AppendUint64(b, position)
	micros := min(max(delay.Microseconds(), 0), 1<<32-1)

	return binary.BigEndian.AppendUint32(b, uint32(micros))
}

// parseAck decodes what follows the header of an acknowledgement.
func parseAck(b []byte) (position uint64, delay time.Duration) {
	position = binary.BigEndian.Uint64(b)
	return position, time.Duration(binary.BigEndian.Uint32(b[8:])) * time.Microsecond
}

// appendPace appends how many bytes the peer need not acknowledge at once.
func appendPace(b []byte, bytes uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, framePace, paceSize), bytes)
}
