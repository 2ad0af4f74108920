package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/mux/wire"

	"golang.org/x/net/dns/dnsmessage"
)

// rotatingServer is a name server whose answers are one of several addresses.
type rotatingServer struct {
	conn net.PacketConn
	// pick returns which address is the answer.
	pick func() netip.Addr
	ttl  uint32
}

// startNameServer starts a name server on loopback, until the test ends.
func startNameServer(t *testing.T, ttl uint32, pick func() netip.Addr) *rotatingServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rotatingServer{conn, pick, ttl}
	var serving sync.WaitGroup
	serving.Go(s.serve)
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	return s
}

func (s *rotatingServer) serve() {
	buffer := make([]byte, 512)
	for {
		n, peer, err := s.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer, err := s.answer(buffer[:n]); err == nil {
			_, _ = s.conn.WriteTo(answer, peer)
		}
	}
}

// answer has one address for a question for an IPv4 address, and none for others.
func (s *rotatingServer) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, errors.New("no question")
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: s.ttl},
			Body:   &dnsmessage.AResource{A: s.pick().As4()},
		}}
	}
	return m.Pack()
}

// dial connects to this name server, in place of every other.
func (s *rotatingServer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, s.conn.LocalAddr().String())
}

// callByName resolves the name and connects at once, as an application does, and reports whether
// the laptop got the connection.
func (s *rotatingServer) callByName(ctx context.Context, name string) (taken bool, err error) {
	resolver := &net.Resolver{PreferGo: true, Dial: s.dial}
	found, err := resolver.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return false, err
	}
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:80", found[0]), 5*time.Second)
	if err != nil {
		return false, nil // nobody else listens there
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return greeting(conn) == "lap", nil
}

// TestRotatingName takes all connections to a name whose answers are one of four addresses in turn,
// and tells of no more than four.
func TestRotatingName(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	connectHosts(t)
	var asked atomic.Uint32
	names := startNameServer(t, 1, func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, 2, 0, byte(10 + asked.Add(1)%4)})
	})
	m := startManagerWith(t, func(c *Config) { c.DialNameServer = names.dial })
	v := m.visit(t, wire.Hello{Holder: "me@here"})

	var got wire.Attached
	if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Outgoing: true, Port: 80, Host: "db.test."}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Addresses) != 4 {
		t.Errorf("attached to %v, want all four addresses", got.Addresses)
	}

	const calls = 119
	taken := 0
	for range calls {
		ok, err := names.callByName(t.Context(), "db.test.")
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
		}
	}
	if taken != calls {
		t.Errorf("%d of %d connections were taken, want all", taken, calls)
	}
}

// TestNameGainsAddress looks a name up again when its answers expire, and takes connections to a new
// address as well as to those before.
func TestNameGainsAddress(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	connectHosts(t)
	var last atomic.Uint32
	last.Store(10)
	names := startNameServer(t, 1, func() netip.Addr { return netip.AddrFrom4([4]byte{10, 2, 0, byte(last.Load())}) })
	if _, ttl, err := newResolver(names.dial)(t.Context(), "db.test."); err != nil || ttl != time.Second {
		t.Errorf("resolve: valid for %v, %v, want 1s", ttl, err)
	}

	m := startManagerWith(t, func(c *Config) { c.DialNameServer = names.dial })
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Outgoing: true, Port: 80, Host: "db.test."}, nil); err != nil {
		t.Fatal(err)
	}

	last.Store(11)
	eventually(t, "a connection to the new address to be taken", func() bool {
		ok, err := names.callByName(t.Context(), "db.test.")
		return ok && err == nil
	})
	last.Store(10)
	if ok, err := names.callByName(t.Context(), "db.test."); !ok || err != nil {
		t.Errorf("a connection to the address before: taken %t, %v", ok, err)
	}
}

// TestCoverEndpoints takes connections to destinations that the laptop knows of, with other ports,
// at the start and later.
func TestCoverEndpoints(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	connectHosts(t)
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	first, second := netip.MustParseAddrPort("10.2.0.20:8080"), netip.MustParseAddrPort("10.2.0.21:8081")
	var got wire.Attached
	attach := wire.Attach{ID: 1, Outgoing: true, Port: 80, Host: hostA, Also: []netip.AddrPort{first}}
	if err := v.Call(t.Context(), wire.RequestAttach, attach, &got); err != nil || len(got.Endpoints) != 1 || got.Endpoints[0] != first {
		t.Fatalf("attached to %+v, %v, want %s, too", got, err, first)
	}
	if err := v.Call(t.Context(), wire.RequestCover, wire.Cover{ID: 1, Also: []netip.AddrPort{first, second}}, nil); err != nil {
		t.Fatal(err)
	}

	for _, to := range []string{hostA + ":80", first.String(), second.String()} {
		conn, err := net.DialTimeout("tcp", to, 5*time.Second)
		if err != nil {
			t.Errorf("connect to %s: %v", to, err)
			continue
		}
		if got := greeting(conn); got != "lap" {
			t.Errorf("%s answered %q, want the laptop", to, got)
		}
		_ = conn.Close()
	}
	if conn, err := net.DialTimeout("tcp", "10.2.0.20:8081", 200*time.Millisecond); err == nil {
		t.Errorf("connected to an endpoint's other port")
		_ = conn.Close()
	}
	if err := v.Call(t.Context(), wire.RequestCover, wire.Cover{ID: 2}, nil); err == nil {
		t.Error("cover of no redirect was served")
	}
}
