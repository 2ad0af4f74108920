package kube

import (
	"bufio"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// The opcodes of a WebSocket's frames (RFC 6455, 5.2).
const (
	wsContinuation = 0
	wsBinary       = 2
	wsClose        = 8
	wsPing         = 9
	wsPong         = 10
)

// maxControlPayload is the most that a control frame of a WebSocket carries (RFC 6455, 5.5).
const maxControlPayload = 125

// errWebSocketClosed reports that the server has closed the WebSocket.
var errWebSocketClosed = errors.New("the server has closed the WebSocket")

// webSocketReader reads the bytes of a WebSocket's binary messages, one message after the other.
// It keeps nothing of a message: what arrives goes into the caller's buffer. A Read that failed
// because of a deadline may be repeated, which is why gorilla/websocket cannot be used here.
type webSocketReader struct {
	in *bufio.Reader // of maxHeader and maxControlPayload bytes at least
	// answer sends a control frame without waiting.
	answer func(opcode byte, payload []byte)

	left       uint64 // what is still to come of the frame's payload
	unfinished bool   // the message goes on in another frame
}

func (w *webSocketReader) Read(p []byte) (int, error) {
	for w.left == 0 {
		if err := w.readHeader(); err != nil {
			return 0, err
		}
	}

	if uint64(len(p)) > w.left {
		p = p[:w.left]
	}
	n, err := w.in.Read(p)
	w.left -= uint64(n)
	return n, err
}

// readHeader reads the header of a frame, and all of a control frame. What it has not read
// completely it leaves in the buffer.
func (w *webSocketReader) readHeader() error {
	head, err := w.in.Peek(2)
	if err != nil {
		return err
	}

	size, length := 2, uint64(head[1]&0x7f)
	switch length {
	case 126:
		size = 4
	case 127:
		size = 10
	}

	if head, err = w.in.Peek(size); err != nil {
		return err
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(head[2:])
	}

	if err = w.verifyHeader(head[0], head[1], length); err != nil {
		return err
	}
	if opcode := head[0] & 0xf; opcode >= wsClose {
		return w.readControlFrame(opcode, size, int(length))
	}

	w.left, w.unfinished = length, head[0]&0x80 == 0
	_, err = w.in.Discard(size)
	return err
}

// verifyHeader returns an error for a frame that a server must not send here. first and second
// are the first bytes of its header.
func (w *webSocketReader) verifyHeader(first, second byte, length uint64) error {
	opcode := first & 0xf
	isControl := opcode >= wsClose
	switch {
	case first&0x70 != 0:
		return protocolError("the WebSocket uses an extension that nobody asked for")
	case second&0x80 != 0:
		return protocolError("the server masks its WebSocket's frames")
	case isControl && opcode <= wsPong:
		if first&0x80 == 0 || length > maxControlPayload {
			return protocolError("a control frame of the WebSocket is too long")
		}
	case opcode == wsContinuation && w.unfinished, opcode == wsBinary && !w.unfinished:
		if length>>63 != 0 {
			return protocolError("a frame of the WebSocket is too long")
		}
	default:
		return protocolError(fmt.Sprintf("a frame of the WebSocket with opcode %d came out of turn", opcode))
	}

	return nil
}

// readControlFrame reads a control frame whose header, of size bytes, is in the buffer.
func (w *webSocketReader) readControlFrame(opcode byte, size, length int) error {
	whole, err := w.in.Peek(size + length)
	if err != nil {
		return err
	}

	switch opcode {
	case wsClose:
		return errWebSocketClosed
	case wsPing:
		w.answer(wsPong, slices.Clone(whole[size:]))
	}
	_, err = w.in.Discard(size + length)
	return err
}

// webSocketWriter puts what it is given into frames of a WebSocket.
type webSocketWriter struct {
	// keys holds a frame's masking key, repeated, and 3 bytes more so that the sequence can
	// begin at any of the key's bytes.
	keys [1<<10 + 3]byte
}

// appendMessage appends a frame that is a whole message. Its payload is in two parts.
func (w *webSocketWriter) appendMessage(out []byte, opcode byte, first, second []byte) []byte {
	length := len(first) + len(second)
	out = slices.Grow(out, length+14)

	out = append(out, 0x80|opcode)
	switch {
	case length <= maxControlPayload:
		out = append(out, 0x80|byte(length))
	case length <= 1<<16-1:
		out = append(out, 0x80|126)
		out = binary.BigEndian.AppendUint16(out, uint16(length))
	default:
		out = append(out, 0x80|127)
		out = binary.BigEndian.AppendUint64(out, uint64(length))
	}

	_, _ = rand.Read(w.keys[:4]) // it never fails
	for n := 4; n < len(w.keys); n *= 2 {
		copy(w.keys[n:], w.keys[:n])
	}

	out = append(out, w.keys[:4]...)
	out = w.appendMasked(out, first, 0)
	return w.appendMasked(out, second, len(first))
}

// appendMasked appends a part of a payload that begins at an offset. Copying and masking are one
// pass over the data.
func (w *webSocketWriter) appendMasked(out, part []byte, offset int) []byte {
	keys := w.keys[offset%4:][:len(w.keys)-3]
	end := len(out)
	out = out[:end+len(part)]

	for len(part) > 0 {
		n := subtle.XORBytes(out[end:], part, keys)
		part, end = part[n:], end+n
	}
	return out
}
