package mux

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ProtocolVersion numbers the protocol. It changes when older peers could not go on.
const ProtocolVersion = 2

// preface and ProtocolVersion are the first bytes of a connection in both directions, outside of
// TLS and inside, so that two versions which share nothing else can tell that they differ.
var preface = []byte("kdiag\x00\x00")

// prefaceSize is the length of the preface with the version, in bytes.
const prefaceSize = 8

// maxMessage limits the size of a control message, in bytes.
const maxMessage = 64 << 10

// VersionError reports a peer with another version of the protocol.
type VersionError struct{ Theirs byte }

func (e *VersionError) Error() string {
	return fmt.Sprintf("protocol version %d on this side, %d on the other", ProtocolVersion, e.Theirs)
}

// PeerIsOlder reports whether the peer is the side to upgrade.
func (e *VersionError) PeerIsOlder() bool { return e.Theirs < ProtocolVersion }

// CheckPeerVersion returns a *VersionError for a manager with another version of the protocol. 0
// stands for version 1, which does not name its version.
func CheckPeerVersion(theirs byte) error {
	if theirs = max(theirs, 1); theirs != ProtocolVersion {
		return &VersionError{theirs}
	}
	return nil
}

// readPreface reads the peer's preface. It returns a *VersionError if the version differs, and the
// connection's own error if that ends.
func readPreface(r io.Reader) error {
	var got [prefaceSize]byte
	if _, err := io.ReadFull(r, got[:]); err != nil {
		return err
	}
	if !bytes.Equal(got[:len(preface)], preface) {
		return fmt.Errorf("the other side is not kdiag: it begins with %q", got[:])
	}
	if theirs := got[len(preface)]; theirs != ProtocolVersion {
		return &VersionError{theirs}
	}

	return nil
}

// message is a message on the control stream. Kind says which of the other fields count.
type message struct {
	Kind string `json:"kind"`
	// ID pairs a response with its request. The sender of the request counts.
	ID    uint64          `json:"id,omitempty"`
	Name  string          `json:"name,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Error *RemoteError    `json:"error,omitempty"`
}

// These are the values of message.Kind.
const (
	kindRequest  = "request"
	kindResponse = "response"
	kindEvent    = "event"
)

// RemoteError is the peer's answer to a request that it could not serve.
type RemoteError struct {
	// Code lets programs tell errors apart. It is one of those in package wire, or empty.
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (e *RemoteError) Error() string { return e.Message }

// writeMessage writes a message in a single write: its length in 4 bytes, big endian, and JSON.
func writeMessage(w io.Writer, m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a control message: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("control message of %d bytes is over the limit of %d", len(body), maxMessage)
	}

	framed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err = w.Write(append(framed, body...))
	return err
}

// readMessage reads one message. It allocates no more than maxMessage for it.
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

// forbidEOF turns io.EOF into io.ErrUnexpectedEOF: the end came in the middle of something.
func forbidEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
