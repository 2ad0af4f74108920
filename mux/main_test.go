package mux

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits how long tests wait for something that must happen soon.
const patience = 20 * time.Second

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// tcpPair makes a connection over loopback.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()

	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = dialled.Close(); _ = accepted.Close() })
	return dialled.(*net.TCPConn), accepted.(*net.TCPConn)
}

// newConfigs makes TLS configurations of a laptop and a manager that trust each other.
func newConfigs(t testing.TB) (client, server *tls.Config) {
	t.Helper()
	user, manager := newKey(t), newKey(t)
	public, _ := manager.Public().(ed25519.PublicKey)
	client, err := ClientTLS(user, HashKey(public))
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ServerTLS(manager, PublicText(user)); err != nil {
		t.Fatal(err)
	}

	return client, server
}

// A testHost is a manager that laptops can connect to.
type testHost struct {
	host *Host
	door *Door
	user ed25519.PrivateKey
	hash string
}

func newTestHost(t testing.TB) *testHost {
	t.Helper()
	user, manager := newKey(t), newKey(t)
	public, _ := manager.Public().(ed25519.PublicKey)
	host, err := NewHost(manager, PublicText(user))
	if err != nil {
		t.Fatal(err)
	}

	door, err := NewDoor(manager, PublicText(user))
	if err != nil {
		t.Fatal(err)
	}
	return &testHost{host, door, user, HashKey(public)}
}

// receive serves a connection as a manager does.
func (h *testHost) receive(ctx context.Context, conn net.Conn, o SessionOptions) (*Session, error) {
	challenge, err := h.door.SendChallenge(conn)
	if err == nil {
		err = h.door.VerifyKnock(conn, challenge)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}

	return h.host.Receive(ctx, conn, o)
}

// newSessions makes the two ends of a session, over the connections that wrap returns in place
// of plain ones. wrap may be nil.
func newSessions(t testing.TB, forClient, forServer SessionOptions, wrap func(client, server net.Conn) (net.Conn, net.Conn)) (client, server *Session) {
	t.Helper()
	near, far := tcpPair(t)
	var a, b net.Conn = near, far
	if wrap != nil {
		a, b = wrap(a, b)
	}

	return newTestHost(t).connect(t, a, b, forClient, forServer)
}

// connect makes the two ends of a session over a connection's two ends.
func (h *testHost) connect(t testing.TB, near, far net.Conn, forClient, forServer SessionOptions) (client, server *Session) {
	t.Helper()
	made := make(chan error, 1)
	go func() {
		var err error
		server, err = h.receive(t.Context(), far, forServer)
		made <- err
	}()

	client, err := Client(t.Context(), near, h.user, h.hash, forClient)
	if serverErr := <-made; err != nil || serverErr != nil {
		t.Fatalf("session: %v, %v", err, serverErr)
	}

	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}

// newStreams makes the two ends of a stream that the server's side opens.
func newStreams(t testing.TB, client, server *Session) (near, far *Conn) {
	t.Helper()
	far, err := server.Open(Header{Redirect: 1})
	if err != nil {
		t.Fatal(err)
	}
	if near, err = client.Accept(); err != nil {
		t.Fatal(err)
	}

	return near, far
}

// waitFor waits until done is closed, and fails the test if that takes too long.
func waitFor(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
}
