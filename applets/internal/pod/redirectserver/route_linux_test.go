package redirectserver

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets/internal/pod/healthprobe"
	"kdiag/mux/wire"
)

// kubeletRequest is what the kubelet sends for a probe of /healthz.
const kubeletRequest = "GET /healthz HTTP/1.1\r\nHost: 10.1.0.2:8080\r\nUser-Agent: kube-probe/1.37\r\nAccept: */*\r\nConnection: close\r\n\r\n"

var healthz = wire.Probe{Kind: wire.ProbeHTTP, Target: "/healthz", Agent: "kube-probe/"}

// attachProbes redirects appPort, with the probes that come to it.
func (v *visitor) attachProbes(t *testing.T, nodes []netip.Addr, probes ...wire.Probe) {
	t.Helper()
	request := wire.Attach{ID: 1, Port: appPort, Probes: probes, NodeAddresses: nodes}
	if err := v.Call(t.Context(), wire.RequestAttach, request, nil); err != nil {
		t.Fatal(err)
	}
}

// greetingFor sends something, byte by byte if it must be slow, and returns who answers.
func greetingFor(t *testing.T, sent string, slow bool) string {
	t.Helper()
	conn := dialApp(t)
	defer conn.Close()
	for _, piece := range pieces(sent, slow) {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	return greeting(conn)
}

// pieces cuts a text into bytes if it must be slow.
func pieces(text string, slow bool) []string {
	if slow {
		return strings.Split(text, "")
	}
	return []string{text}
}

// TestProbesReachApplication sends probes to the application and everything else to the laptop,
// whole, whatever the pieces in which it comes.
func TestProbesReachApplication(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	v.attachProbes(t, nil, healthz)

	for sent, want := range map[string]string{
		kubeletRequest: "app",
		strings.Replace(kubeletRequest, "kube-probe", "curl", 1): "lap",
		strings.Replace(kubeletRequest, "/healthz", "/", 1):      "lap",
		"POST / HTTP/1.1\r\n\r\n":                                "lap",
		"\x16\x03\x01":                                           "lap",
	} {
		for _, slow := range []bool{false, true} {
			if got := greetingFor(t, sent, slow); got != want {
				t.Errorf("%.40q, slow %t: %q answers, want %q", sent, slow, got, want)
			}
		}
	}

	// What was looked at is still there for the laptop.
	conn := dialApp(t)
	request := strings.Replace(kubeletRequest, "/healthz", "/other", 1)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.(*net.TCPConn).CloseWrite()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if string(got) != "lap"+request || err != nil {
		t.Errorf("echo = %q, %v, want all of the request", got, err)
	}

	var detached wire.Detached
	if err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: 1}, &detached); err != nil {
		t.Fatal(err)
	}
	if want := (wire.Probed{ID: 1, Recognized: 2}); detached.Probed != want {
		t.Errorf("counted %+v, want %+v", detached.Probed, want)
	}
}

// TestCloseWithoutByte never reaches the laptop where the kubelet probes by it. A caller who waits for
// the other side to begin does.
func TestCloseWithoutByte(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	v.attachProbes(t, nil, wire.Probe{Kind: wire.ProbeTCP})
	for range 20 {
		_ = dialApp(t).Close()
	}
	if got := greeting(dialApp(t)); got != "lap" {
		t.Errorf("caller who is silent: %q, want the laptop", got)
	}

	r := v.served(t).redirects[1]
	eventually(t, "20 probes to be counted", func() bool {
		r.probed.mu.Lock()
		defer r.probed.mu.Unlock()
		return r.probed.counts.Recognized == 20
	})
}

// TestTLSByNode sends TLS without a server's name to the application if the node may be its source.
func TestTLSByNode(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, c := range []struct {
		nodes  []netip.Addr
		server string
		want   string
	}{
		{[]netip.Addr{netip.MustParseAddr(podIPv4)}, "", "app"},
		{[]netip.Addr{netip.MustParseAddr(podIPv4)}, "shop.example", "lap"},
		{nil, "", "lap"},
	} {
		t.Run(c.want+" "+c.server, func(t *testing.T) {
			m := startManager(t, never)
			m.visit(t, wire.Hello{Holder: "me@here"}).attachProbes(t, c.nodes, wire.Probe{Kind: wire.ProbeTLS})
			raw := dialApp(t)
			defer raw.Close()
			hello := helloSender{raw, make(chan struct{})}
			client := tls.Client(hello, &tls.Config{InsecureSkipVerify: true, ServerName: c.server})
			var handshake sync.WaitGroup
			handshake.Go(func() { _ = client.HandshakeContext(t.Context()) })
			if got := greeting(raw); got != c.want {
				t.Errorf("%q answers, want %q", got, c.want)
			}
			close(hello.over)
			handshake.Wait()
		})
	}
}

// helloSender sends a ClientHello, and leaves what comes to somebody else.
type helloSender struct {
	net.Conn
	over chan struct{}
}

func (h helloSender) Read([]byte) (int, error) {
	<-h.over
	return 0, io.EOF
}

// TestNodeIsLearned takes the source of a certain probe for the kubelet's.
func TestNodeIsLearned(t *testing.T) {
	n := newNodeSources(nil, false)
	other := netip.MustParseAddr("203.0.113.9")
	if n.contains(other) {
		t.Fatal("an unknown address is the node's")
	}
	r := &redirectListener{nodes: n, probed: newProbeCount(1, func(wire.Probed) {})}
	defer r.probed.stop()
	r.noteProbe(other, healthprobe.Ambiguous)
	if n.contains(other) {
		t.Error("an address is learned from what may be no probe")
	}
	r.noteProbe(other, healthprobe.Recognized)
	if !n.contains(other) {
		t.Error("the address of a probe is not learned")
	}

	for range 2 * maxNodeAddresses {
		other = other.Next()
		n.learn(other)
	}
	if got := len(n.learned); got != maxNodeAddresses {
		t.Errorf("%d addresses are learned, want %d at most", got, maxNodeAddresses)
	}
	for address, want := range map[string]bool{"169.254.7.127": true, "fe80::1": true, "127.0.0.6": false} {
		if got := n.contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is the node's: %t, want %t", address, got, want)
		}
	}
	if !newNodeSources(nil, true).contains(netip.MustParseAddr("127.0.0.6")) {
		t.Error("the sidecar's address is nobody's")
	}
}

// TestParseGateway reads addresses as the kernel prints them on this machine.
func TestParseGateway(t *testing.T) {
	for text, want := range map[string]string{
		"0100010A":                         "10.1.0.1",
		"FD000001000000000000000000000001": "fd00:1::1",
	} {
		if got, ok := parseGateway(text); !ok || got.String() != want {
			t.Errorf("parseGateway(%s) = %v, %t, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"00000000", "Gateway", "01", ""} {
		if got, ok := parseGateway(text); ok {
			t.Errorf("parseGateway(%q) = %v, want none", text, got)
		}
	}
}

// TestProbesWhileAway answers probes while the laptop is away, whatever new connections do.
func TestProbesWhileAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for _, policy := range []string{wire.OnDisconnectApp, wire.OnDisconnectHold, wire.OnDisconnectReset} {
		t.Run(policy, func(t *testing.T) {
			v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy})
			v.attachProbes(t, nil, healthz)
			v.goAway(t)
			for range 3 {
				if got := greetingFor(t, kubeletRequest, false); got != "app" {
					t.Errorf("%q answers, want the application", got)
				}
			}
		})
	}
}

// TestProbesAmongMany answers probes while as many connections as there may be wait for the laptop.
func TestProbesAmongMany(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: wire.OnDisconnectHold})
	v.attachProbes(t, nil, healthz)
	r := v.served(t).redirects[1]
	v.goAway(t)
	const limit = 200
	v.manager.server.pool.setLimit(limit)
	for range limit + 10 {
		conn := dialApp(t)
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}

	eventually(t, "the crowd", r.isSuspended)
	if got := greetingFor(t, kubeletRequest, false); got != "app" {
		t.Errorf("a probe among %d connections: %q answers, want the application", limit, got)
	}
}

// TestHeldReachApplication gives connections that have waited for a laptop in vain to the
// application.
func TestHeldReachApplication(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const many = 50
	for policy, end := range map[string]func(t *testing.T, v *visitor, s *redirectSession){
		wire.OnDisconnectApp:  func(t *testing.T, v *visitor, s *redirectSession) { s.noteOverdue(0); v.wantOverdue(t, s) },
		wire.OnDisconnectHold: func(*testing.T, *visitor, *redirectSession) {}, // until the grace is over
	} {
		t.Run(policy, func(t *testing.T) {
			v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here", OnDisconnect: policy, GraceSeconds: 2})
			v.attachProbes(t, nil, healthz)
			s := v.goAway(t)
			var conns []net.Conn
			for i := range many {
				conn := dialApp(t)
				defer conn.Close()
				conns = append(conns, conn)
				if i%2 == 0 {
					_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\n\r\n")
				}
			}

			end(t, v, s)
			for i, conn := range conns {
				if got := greeting(conn); got != "app" {
					t.Errorf("connection %d: %q answers, want the application", i, got)
				}
			}
		})
	}
}

// TestManyHeldReachApplication resets none of very many connections that have waited in vain: those
// for which there is no room at once go on waiting.
func TestManyHeldReachApplication(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	const limit, many = 800, 600
	pool := v.manager.server.pool
	pool.setLimit(limit)
	s := v.goAway(t)
	conns := dialMany(t, many)
	eventually(t, "the connections", func() bool { return pool.count() == many })

	s.noteOverdue(0)
	greetings := make(chan map[string]int)
	for _, conn := range conns {
		go func() { greetings <- greetMany([]net.Conn{conn}) }()
	}
	for range conns {
		if got := <-greetings; got["app"] != 1 {
			t.Errorf("one of %d connections: %v, want all with the application", many, got)
		}
	}
	eventually(t, "every place to be free", func() bool { return pool.count() == 0 })
}

// TestApplicationOutlivesSession does not break what goes to the application when the session ends.
func TestApplicationOutlivesSession(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	probe := wire.Probe{Kind: wire.ProbeHTTP, Target: "/slow", Agent: "kube-probe/"}
	echo := listenAt(t, podIPv4+":8081")
	request := wire.Attach{ID: 2, Port: 8081, Probes: []wire.Probe{probe}}
	if err := v.Call(t.Context(), wire.RequestAttach, request, nil); err != nil {
		t.Fatal(err)
	}

	conn, err := net.Dial("tcp", podIPv4+":8081")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := strings.Replace(kubeletRequest, "/healthz", "/slow", 1)
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn, sent)
	_ = v.Close()
	eventually(t, "the session to end", func() bool {
		m.server.mu.Lock()
		defer m.server.mu.Unlock()
		return len(m.server.sessions) == 0
	})

	if !m.server.Busy() {
		t.Error("the manager is idle with a connection to the application")
	}
	if _, err := io.WriteString(conn, "still there"); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conn, "still there")
	_ = conn.Close()
	eventually(t, "the manager to be idle", func() bool { return !m.server.Busy() })
	_ = echo.Close()
}

// TestCloseWhileDialing ends the manager at once although the application accepts nothing, as one that
// is stopped does.
func TestCloseWhileDialing(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	m := startManager(t, never)
	v := m.visit(t, wire.Hello{Holder: "me@here"})
	v.attachProbes(t, nil, healthz)
	run(t, "nft", "add table inet stuck; add chain inet stuck output { type filter hook output priority 0; }; "+
		"add rule inet stuck output meta mark 0x6b64 tcp dport 8080 drop")
	if _, err := io.WriteString(dialApp(t), kubeletRequest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dial", func() bool {
		m.server.application.mu.Lock()
		defer m.server.application.mu.Unlock()
		return len(m.server.application.conns) == 1
	})

	began := time.Now()
	_ = m.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the manager's end took %v", took)
	}
}

// listenAt echoes what comes.
func listenAt(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); _, _ = io.Copy(conn, conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	return listener
}

// wantEcho wants a text back.
func wantEcho(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("echo = %q, %v, want %q", got, err, want)
	}
}

// TestApplicationSeesCaller shows the application the caller's address in a connection that the
// manager passes to it.
func TestApplicationSeesCaller(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const caller = "10.1.0.77"
	run(t, "ip", "address", "add", caller+"/32", "dev", "lo")
	for backend, want := range map[string]string{"nft": caller, "iptables": podIPv4} {
		t.Run(backend, func(t *testing.T) {
			v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
			listener := listenLocalAt(t, podIPv4+":8081")
			request := wire.Attach{ID: 2, Port: 8081, Backend: backend, Probes: []wire.Probe{healthz}}
			if err := v.Call(t.Context(), wire.RequestAttach, request, nil); err != nil {
				t.Fatal(err)
			}

			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(caller)}, Timeout: 20 * time.Second}
			conn, err := dialer.Dial("tcp", podIPv4+":8081")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, kubeletRequest); err != nil {
				t.Fatal(err)
			}
			seen, err := listener.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer seen.Close()
			if got := seen.RemoteAddr().(*net.TCPAddr).IP.String(); got != want {
				t.Errorf("the application sees %s, want %s", got, want)
			}
		})
	}
}

// listenLocalAt listens, for 20 s at most.
func listenLocalAt(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	tcp := listener.(*net.TCPListener)
	_ = tcp.SetDeadline(time.Now().Add(20 * time.Second))
	return tcp
}

// TestSilentLaptop keeps connections back from a laptop that has been silent for longer than it ever
// is, before it counts as lost.
func TestSilentLaptop(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	s := v.served(t)
	v.road.close()
	v.road.conn().loseWrites.Store(true)
	eventually(t, "the laptop to be silent", func() bool { return s.laptop.SilentFor() >= doubtAfter })

	var conns []net.Conn
	for range 20 {
		conn := dialApp(t)
		defer conn.Close()
		conns = append(conns, conn)
	}
	for i, conn := range conns {
		if got := greeting(conn); got != "app" {
			t.Errorf("connection %d: %q answers, want the application", i, got)
		}
	}
}
