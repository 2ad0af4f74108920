package healthprobe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// clientHello is a probe over TLS. The kubelet names no server, because it dials an address
// (RFC 6066, 3), and everything that would tell it from others is encrypted.
type clientHello struct{}

// recordHandshake begins a TLS handshake (RFC 8446, 5.1).
const recordHandshake = "\x16"

// judge wants a source of the kubelet's, and no server's name.
func (clientHello) judge(a Arrival) Verdict {
	if !a.FromNode || len(a.Bytes) == 0 && (a.Ended || a.Final) || !isPrefix(a.Bytes, recordHandshake) {
		return Other
	}

	hello, err := readClientHello(a.Bytes)
	switch {
	case hello != nil && hello.ServerName == "":
		return Ambiguous
	case hello != nil, !isCutOff(err), a.Ended:
		return Other
	case a.Final:
		return Ambiguous
	}
	return Undecided
}

// errHelloRead ends a handshake that is only begun to read a ClientHello.
var errHelloRead = errors.New("that is all")

// readClientHello returns the ClientHello that bytes begin with, nil if it is not all there.
func readClientHello(sent []byte) (hello *tls.ClientHelloInfo, err error) {
	config := &tls.Config{GetConfigForClient: func(read *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = read
		return nil, errHelloRead
	}}
	err = tls.Server(recorded{bytes.NewReader(sent)}, config).Handshake()
	return hello, err
}

// recorded is a connection that has sent what it has, and takes anything.
type recorded struct{ io.Reader }

func (recorded) Write(p []byte) (int, error)      { return len(p), nil }
func (recorded) Close() error                     { return nil }
func (recorded) LocalAddr() net.Addr              { return nil }
func (recorded) RemoteAddr() net.Addr             { return nil }
func (recorded) SetDeadline(time.Time) error      { return nil }
func (recorded) SetReadDeadline(time.Time) error  { return nil }
func (recorded) SetWriteDeadline(time.Time) error { return nil }
