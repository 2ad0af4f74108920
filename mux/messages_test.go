package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"kdiag/mux/wire"
)

func TestPreface(t *testing.T) {
	var wire bytes.Buffer
	wire.Write(append(bytes.Clone(preface), ProtocolVersion))
	if err := readPreface(bytes.NewReader(wire.Bytes())); err != nil {
		t.Errorf("readPreface = %v", err)
	}

	for theirs, older := range map[byte]bool{ProtocolVersion - 1: true, ProtocolVersion + 1: false} {
		other := bytes.Clone(wire.Bytes())
		other[prefaceSize-1] = theirs
		var version *VersionError
		if err := readPreface(bytes.NewReader(other)); !errors.As(err, &version) || version.PeerIsOlder() != older {
			t.Errorf("readPreface of version %d = %v, want a VersionError, older: %t", theirs, err, older)
		}
	}

	for _, bad := range []string{"", "kdiag", "HTTP/1.1 400"} {
		if err := readPreface(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("readPreface(%q) = nil", bad)
		}
	}
}

func TestMessageBounds(t *testing.T) {
	for _, length := range []uint32{0, maxMessage + 1, 1<<32 - 1} {
		if _, err := readMessage(bytes.NewReader(binary.BigEndian.AppendUint32(nil, length))); err == nil {
			t.Errorf("a message of %d bytes was read", length)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		{Kind: kindRequest, ID: 1, Name: wire.RequestHello, Body: []byte(`{"version":"v1"}`)},
		{Kind: kindResponse, ID: 1, Error: &RemoteError{Message: "no"}},
		{Kind: kindEvent, Name: wire.EventMoved},
	} {
		var wire bytes.Buffer
		if err := writeMessage(&wire, m); err != nil {
			f.Fatal(err)
		}
		f.Add(wire.Bytes())
	}

	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := readMessage(bytes.NewReader(wire))
		if err != nil {
			return
		}

		var again bytes.Buffer
		if err := writeMessage(&again, m); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}

		got, err := readMessage(&again)
		if err != nil || !sameMessage(got, m) {
			t.Errorf("read(write(m)) = %+v, %v, want %+v", got, err, m)
		}
	})
}

// sameMessage compares messages, without the white space in their bodies: JSON's encoder drops it.
func sameMessage(a, b message) bool {
	a.Body, b.Body = nil, nil
	return reflect.DeepEqual(a, b)
}

func FuzzHeader(f *testing.F) {
	f.Add(Header{Redirect: 1, Source: netip.MustParseAddrPort("1.2.3.4:5"), Destination: netip.MustParseAddrPort("[::1]:80")}.Encode())
	f.Add(Header{}.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, wire []byte) {
		h, err := DecodeHeader(wire)
		if err != nil {
			return
		}
		again, err := DecodeHeader(h.Encode())
		if err != nil || again != h {
			t.Errorf("decode(encode(h)) = %+v, %v, want %+v", again, err, h)
		}
	})
}

func FuzzPreface(f *testing.F) {
	f.Add([]byte("kdiag\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		if err := readPreface(bytes.NewReader(wire)); err == nil && !bytes.HasPrefix(wire, append(bytes.Clone(preface), ProtocolVersion)) {
			t.Errorf("readPreface(%q) = nil", wire)
		}
	})
}
