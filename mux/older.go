package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"

	"github.com/hashicorp/yamux"
)

// TellVersion lets a laptop of version 1 learn that this is another version: such a laptop begins
// with TLS and yamux, and looks for the version at the beginning of stream 1. TellVersion closes
// conn.
func (h *Host) TellVersion(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()

	secured := tls.Server(conn, h.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}

	streams, err := yamux.Server(secured, yamuxConfig(SessionOptions{}.withDefaults()))
	if err != nil {
		return err
	}
	defer streams.Close()

	control, err := streams.AcceptStreamWithContext(ctx)
	if err != nil {
		return err
	}
	if _, err := control.Write(append(bytes.Clone(preface), ProtocolVersion)); err != nil {
		return err
	}

	return readPreface(control)
}
