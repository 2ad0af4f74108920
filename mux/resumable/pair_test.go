package resumable

import (
	"net"
	"testing"
)

// newPair makes two streams that are not connected yet, and closes them when the test ends.
func newPair(t testing.TB, o Options) (a, b *Stream) {
	t.Helper()
	a, b = New(o), New(o)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})

	return a, b
}

// connect gives a and b a new connection, as a session does: detach, exchange positions, resume.
func connect(t testing.TB, a, b *Stream, connA, connB net.Conn) {
	t.Helper()
	a.Detach()
	b.Detach()
	toA, toB := b.Received(), a.Received()

	if err := a.Resume(connA, toA); err != nil {
		t.Errorf("Resume: %v", err)
	}
	if err := b.Resume(connB, toB); err != nil {
		t.Errorf("Resume: %v", err)
	}
}

// loopback returns both ends of a TCP connection.
func loopback(t testing.TB) (client, server net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}

	return client, server
}
