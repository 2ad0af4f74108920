package filecopy

import (
	"encoding/binary"

	"kdiag/mux/wire"
)

// arrivals holds frames in their order, as bytes one behind the other, so that a small frame takes
// no more memory than it has bytes. Of those from largeFrame on only the heads stand there.
type arrivals struct {
	bytes []byte
	large []*[]byte
	// at and largeAt are what was taken.
	at, largeAt int
}

// largeFrame is the size from which on a frame's content has memory of its own, for the longest one.
const largeFrame = wire.FilesChunk / 2

// keptMemory bounds what is kept for the frames to come.
const keptMemory = 256 << 10

func (a *arrivals) isEmpty() bool { return a.at == len(a.bytes) }

// add adds a frame.
func (a *arrivals) add(frame Frame) {
	a.bytes = appendHead(a.bytes, frame.Kind, len(frame.Content))
	if frame.pooled != nil {
		a.large = append(a.large, frame.pooled)
		return
	}
	a.bytes = append(a.bytes, frame.Content...)
}

// take takes the first frame.
func (a *arrivals) take() Frame {
	head := a.bytes[a.at:]
	frame := Frame{Kind: head[0]}
	size := int(binary.BigEndian.Uint32(head[1:]))
	a.at += wire.FilesHeadSize
	if size >= largeFrame {
		frame.pooled = a.large[a.largeAt]
		a.large[a.largeAt] = nil
		a.largeAt++
		frame.Content = (*frame.pooled)[:size]
		return frame
	}

	frame.Content = a.bytes[a.at : a.at+size : a.at+size]
	a.at += size
	return frame
}

// clear makes room for other frames. Nobody has those that were taken any more.
func (a *arrivals) clear() {
	if cap(a.bytes) > keptMemory {
		a.bytes = nil
	}
	*a = arrivals{bytes: a.bytes[:0], large: a.large[:0]}
}
