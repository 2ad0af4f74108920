package mux

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Version is the protocol's: it changes when an older peer could not go on.
const Version = 2

// preface begins a connection and the control stream, in both directions and
// before anything else, so that two versions that share nothing but this can
// still say so.
var preface = []byte("kdiag\x00\x00")

// prefaceSize is the preface's length in bytes, the version included.
const prefaceSize = 8

// maxMessage bounds a control message, in bytes.
const maxMessage = 64 << 10

func writePreface(w io.Writer) error {
	_, err := w.Write(append(bytes.Clone(preface), Version))
	return err
}

// VersionError is a peer of another protocol version.
type VersionError struct{ Theirs byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("protocol version %d on this side, %d on the other", Version, e.Theirs)
}

// PeerIsOlder reports which side is to be upgraded: the peer's.
func (e *VersionError) PeerIsOlder() bool { return e.Theirs < Version }

// CheckPeerVersion returns a *VersionError for a manager that speaks another
// version of the protocol; 0 stands for version 1, which does not say so.
func CheckPeerVersion(theirs byte) error {
	if theirs = max(theirs, 1); theirs != Version {
		return &VersionError{theirs}
	}
	return nil
}

func readPreface(r io.Reader) error {
	var got [prefaceSize]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return fmt.Errorf("read the preface: %w", err)
	}
	if !bytes.Equal(got[:len(preface)], preface) {
		return fmt.Errorf("read the preface: %q is not kdiag's", got[:])
	}
	if theirs := got[len(preface)]; theirs != Version {
		return &VersionError{theirs}
	}

	return nil
}

// message is one control message: a request, its response, an event, a stream
// reset or a heartbeat. Kind says which of the other fields count.
type message struct {
	Kind string `json:"kind"`
	// ID pairs a response with its request; it is the sender's count.
	ID     uint64          `json:"id,omitempty"`
	Name   string          `json:"name,omitempty"`
	Body   json.RawMessage `json:"body,omitempty"`
	Error  *RemoteError    `json:"error,omitempty"`
	Stream uint32          `json:"stream,omitempty"`
}

// The kinds of message.
const (
	kindRequest   = "request"
	kindResponse  = "response"
	kindEvent     = "event"
	kindReset     = "reset"
	kindResetDone = "reset-done"
	kindHeartbeat = "heartbeat"
)

// RemoteError is what a peer answered in place of a result.
type RemoteError struct {
	// Code is for programs: one of those in package wire, or empty.
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *RemoteError) Error() string { return e.Message }

// writeMessage writes a message in one write: its length in 4 bytes, big
// endian, and JSON.
func writeMessage(w io.Writer, m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a control message: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("control message of %d bytes is over the limit of %d", len(body), maxMessage)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...))
	return err
}

// readMessage reads one message. It allocates no more than a message may have.
func readMessage(r io.Reader) (message, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return message{}, err
	}

	length := binary.BigEndian.Uint32(size[:])
	if length == 0 || length > maxMessage {
		return message{}, fmt.Errorf("control message of %d bytes", length)
	}

	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return message{}, fmt.Errorf("read a control message: %w", forbidEOF(err))
	}

	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return message{}, fmt.Errorf("decode a control message: %w", err)
	}

	return m, nil
}

func forbidEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
