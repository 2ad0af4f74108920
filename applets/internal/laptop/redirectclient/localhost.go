package redirectclient

import (
	"context"
	"net"
	"strings"
)

const localhost = "localhost"

// loopbacks are the addresses that the name localhost means (RFC 6761, 6.3).
var loopbacks = []string{"127.0.0.1", "::1"}

// dialProgram connects to a program on this machine. The name localhost means both loopback
// addresses, also where the system knows only one of them by that name: many development servers
// listen on ::1 alone.
func dialProgram(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		return conn, nil
	}

	host, port, splitErr := net.SplitHostPort(address)
	if splitErr != nil || !strings.EqualFold(host, localhost) {
		return nil, err
	}

	for _, loopback := range loopbacks {
		if conn, otherErr := dialer.DialContext(ctx, "tcp", net.JoinHostPort(loopback, port)); otherErr == nil {
			return conn, nil
		}
	}
	return nil, err
}
