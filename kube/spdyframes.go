package kube

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"

	mobyspdy "github.com/moby/spdystream/spdy"
)

// spdyHeaderSize is the length of a SPDY frame's header in bytes (SPDY 3.1, 2.2).
const spdyHeaderSize = 8

// protocolError reports that a server breaks a rule of SPDY, or of the WebSocket below it.
type protocolError string

func (e protocolError) Error() string { return string(e) }

// errNotSPDY reports that a server talks something else.
const errNotSPDY = protocolError("the server sent what is not SPDY 3.1")

// spdyFinished is the flag of the last frame of a stream.
const spdyFinished = 1

// spdyFrame describes a frame of SPDY that has arrived.
type spdyFrame struct {
	control mobyspdy.ControlFrameType // 0 for a data frame
	stream  uint32                    // in a PING its id
	last    bool                      // nothing follows on the stream
}

// carriesData reports whether this is a data frame of a stream.
func (f spdyFrame) carriesData(stream uint32) bool { return f.control == 0 && f.stream == stream }

// spdyReader takes what a server sends apart into frames of SPDY. It reads no more than it is
// asked for, and keeps nothing but the beginning of a frame. A call that failed because of a
// deadline may be repeated.
//
// It decodes no compressed headers: those of a SYN_REPLY say nothing in a port-forward.
type spdyReader struct {
	in   io.Reader
	head [spdyHeaderSize + 4]byte // the frame's header, and what it says first
	have int                      // how much of head has been read
	left int                      // what is still to come of the last frame's payload
	drop [512]byte                // for payload that nobody wants
}

// nextFrame reads the beginning of the next frame, and drops what is left of the last one.
func (r *spdyReader) nextFrame() (spdyFrame, error) {
	for r.left > 0 {
		if _, err := r.readPayload(r.drop[:]); err != nil {
			return spdyFrame{}, err
		}
	}

	if err := r.fillHead(spdyHeaderSize); err != nil {
		return spdyFrame{}, err
	}

	first := binary.BigEndian.Uint32(r.head[:])
	length := int(binary.BigEndian.Uint32(r.head[4:]) & 0xffffff)
	frame := spdyFrame{stream: first, last: r.head[4]&spdyFinished != 0}
	if isControl := first>>31 != 0; isControl {
		frame.control = mobyspdy.ControlFrameType(first & 0xffff)
		if version := first >> 16 & 0x7fff; version != mobyspdy.Version || length < 4 {
			return spdyFrame{}, errNotSPDY
		}

		// Every control frame begins with four bytes that name a stream, or mean something else.
		if err := r.fillHead(spdyHeaderSize + 4); err != nil {
			return spdyFrame{}, err
		}
		frame.stream = binary.BigEndian.Uint32(r.head[spdyHeaderSize:])
		length -= 4
	}

	r.have, r.left = 0, length
	return frame, nil
}

// fillHead reads until head has so many bytes.
func (r *spdyReader) fillHead(size int) error {
	for r.have < size {
		n, err := r.in.Read(r.head[r.have:size])
		r.have += n
		if err != nil && r.have < size {
			return err
		}
	}
	return nil
}

// readPayload reads from the payload of the frame that nextFrame returned last.
func (r *spdyReader) readPayload(p []byte) (int, error) {
	n, err := r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// newDataHeader returns the header of a data frame.
func newDataHeader(stream uint32, length int, last bool) (header [spdyHeaderSize]byte) {
	binary.BigEndian.PutUint32(header[:], stream)
	binary.BigEndian.PutUint32(header[4:], uint32(length))
	if last {
		header[4] = spdyFinished
	}
	return header
}

// newControlFrame returns a control frame whose payload is numbers.
func newControlFrame(kind mobyspdy.ControlFrameType, numbers ...uint32) []byte {
	frame := binary.BigEndian.AppendUint32(nil, 1<<31|mobyspdy.Version<<16|uint32(kind))
	frame = binary.BigEndian.AppendUint32(frame, uint32(4*len(numbers)))
	for _, number := range numbers {
		frame = binary.BigEndian.AppendUint32(frame, number)
	}
	return frame
}

// newStreams returns the frames that open streams with these headers and the ids 1, 3, 5….
func newStreams(headers ...http.Header) ([]byte, error) {
	var out bytes.Buffer
	framer, err := mobyspdy.NewFramer(&out, &out)
	for i, h := range headers {
		if err == nil {
			err = framer.WriteFrame(&mobyspdy.SynStreamFrame{StreamId: mobyspdy.StreamId(2*i + 1), Headers: h})
		}
	}
	return out.Bytes(), err
}
