package redirectserver

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
	"kdiag/netfilter"
	"kdiag/netfilter/netnstest"
)

// The pod's addresses, and those of a host outside.
const (
	podIPv4, podIPv6   = "10.1.0.2", "fd00:1::2"
	hostIPv4, hostIPv6 = "10.1.0.1", "fd00:1::1"
)

// proofPod is a manager's session in a network namespace of its own, without a laptop until
// connectLaptop.
type proofPod struct {
	pod, outside netnstest.Namespace
	server       *Server
	session      *redirectSession
}

// newProofPod enters the pod's namespace. Sockets and rules are made on the test's goroutine.
func newProofPod(t *testing.T, change func(*Config)) *proofPod {
	t.Helper()
	p := &proofPod{pod: netnstest.New(t), outside: netnstest.New(t)}
	p.pod.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", string(p.outside))
	for ns, addresses := range map[netnstest.Namespace][]string{p.pod: {podIPv4, podIPv6}, p.outside: {hostIPv4, hostIPv6}} {
		ns.Run(t, "ip", "address", "add", addresses[0]+"/24", "dev", "eth0")
		ns.Run(t, "ip", "address", "add", addresses[1]+"/64", "dev", "eth0", "nodad")
		ns.Run(t, "ip", "link", "set", "eth0", "up")
	}

	p.pod.Enter(t)
	config := Config{
		Key: muxtest.NewKey(t), User: mux.PublicText(muxtest.NewKey(t)), Version: "v1", ID: "proof", Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}

	var err error
	if p.server, err = New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.server.Close(); err != nil {
			t.Error(err)
		}
		p.server.ruleSet.reserve.release()
	})

	p.session = newRedirectSession(p.server)
	p.session.holder = "me@here"
	return p
}

// attach starts a redirect that ends with the test.
func (p *proofPod) attach(t *testing.T, a wire.Attach) (*redirectListener, wire.Attached, error) {
	t.Helper()
	if a.Backend == "" {
		a.Backend = "auto"
	}

	r, done, err := newRedirectListener(t.Context(), p.session, a)
	if err == nil {
		t.Cleanup(func() {
			if err := r.stopAndReset(); err != nil {
				t.Error(err)
			}
		})
	}

	return r, done, err
}

// mustAttach starts a redirect that is proven.
func (p *proofPod) mustAttach(t *testing.T, a wire.Attach) (*redirectListener, wire.Attached) {
	t.Helper()
	r, done, err := p.attach(t, a)
	if err != nil {
		t.Fatalf("attach %+v = %v", a, err)
	}
	return r, done
}

// serveNobody counts who accepts a trial at the application's port, which nobody must.
func (p *proofPod) serveNobody(t *testing.T) {
	t.Helper()
	for _, ns := range []netnstest.Namespace{p.pod, p.outside} {
		ns.Serve(t, ":8080", func(c net.Conn) { t.Errorf("%s was accepted at %s", c.RemoteAddr(), c.LocalAddr()) })
	}
}

// wantUnproved wants the refusal of a proof, in one line and with a hint.
func wantUnproved(t *testing.T, err error, message, hint string) {
	t.Helper()
	var refused *mux.RemoteError
	if !errors.As(err, &refused) {
		t.Errorf("proof = %v, want a refusal", err)
		return
	}
	if !strings.Contains(refused.Message, message) || strings.Contains(err.Error(), "\n") || !strings.Contains(refused.Hint, hint) {
		t.Errorf("proof = %q, hint %q, want %q, hint %q, in one line", refused.Message, refused.Hint, message, hint)
	}
}

// TestProof arms every kind of redirect, which counts nothing of its proof.
func TestProof(t *testing.T) {
	for _, backend := range []string{"nft", "iptables"} {
		for name, a := range map[string]wire.Attach{
			"incoming":             {Port: 8080},
			"outgoing to one host": {Port: 8080, Outgoing: true, Host: hostIPv4},
			"outgoing to another":  {Port: 8080, Outgoing: true, Host: hostIPv6},
			"outgoing":             {Port: 8080, Outgoing: true},
		} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				p := newProofPod(t, nil)
				p.pod.Run(t, "ip", "route", "add", "default", "via", hostIPv4)
				p.serveNobody(t)
				places := p.server.pool.count()

				a.Backend = backend
				r, done := p.mustAttach(t, a)
				for range 3 {
					unproven, err := r.proveRules(t.Context())
					if err != nil || unproven != "" || done.Unproven != "" {
						t.Errorf("proof = %q, %v, at first %q, want that it works", unproven, err, done.Unproven)
					}
				}

				if taken := p.server.pool.count(); taken != places || len(r.conns) != 0 || len(r.trials) != 0 {
					t.Errorf("places taken %d, before %d, connections %d, trials %d, want nothing held", taken, places, len(r.conns), len(r.trials))
				}
				if holds := p.server.ruleSet.holds; holds != 1 {
					t.Errorf("holds = %d, want the redirect's alone", holds)
				}
			})
		}
	}
}

// TestProofBesideMesh proves what is redirected behind a mesh's proxy.
func TestProofBesideMesh(t *testing.T) {
	for _, mesh := range netnstest.Meshes() {
		for _, backend := range []string{"nft", "iptables"} {
			t.Run(mesh.String()+"/"+backend, func(t *testing.T) {
				p := newProofPod(t, nil)
				p.pod.Run(t, "ip", "route", "add", "default", "via", hostIPv4)
				mesh.Load(t, p.pod)
				p.serveNobody(t)

				for _, a := range []wire.Attach{{Port: 8080}, {Port: 8080, Outgoing: true, Host: hostIPv4}} {
					a.Backend = backend
					if _, done := p.mustAttach(t, a); done.Mesh != mesh.Kind || done.Unproven != "" {
						t.Errorf("attached %+v, want it proven with %s", done, mesh.Kind)
					}
				}
			})
		}
	}
}

// TestConnectionsBesideMesh serves connections that a mesh's proxy passes on.
func TestConnectionsBesideMesh(t *testing.T) {
	for _, mesh := range netnstest.Meshes() {
		t.Run(mesh.String(), func(t *testing.T) {
			p := newProofPod(t, nil)
			p.pod.Run(t, "ip", "route", "add", "default", "via", hostIPv4)
			mesh.Load(t, p.pod)
			mesh.ServeProxy(t, p.pod, netfilter.OriginalDestination, "")

			streams := p.connectLaptop(t)
			p.mustAttach(t, wire.Attach{Port: 8080})
			for i, from := range []netnstest.Namespace{p.outside, p.pod} {
				if err := callOnce(t.Context(), from); err != nil {
					t.Error(err)
				}
				if got := streams(); got != i+1 {
					t.Errorf("%d streams after %d connections", got, i+1)
				}
			}
		})
	}
}

// TestProofUndoesAttach refuses a redirect that another program's rules defeat, and leaves
// nothing of it.
func TestProofUndoesAttach(t *testing.T) {
	for _, backend := range []string{"nft", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			p := newProofPod(t, nil)
			p.serveNobody(t)
			p.pod.Run(t, "nft", "table inet stranger {\nchain output {\ntype nat hook output priority -150\nmeta l4proto tcp redirect to :8080\n}\n}")

			for _, a := range []wire.Attach{{Port: 80, Backend: backend}, {Port: 80, Outgoing: true, Host: hostIPv4, Backend: backend}} {
				_, _, err := p.attach(t, a)
				wantUnproved(t, err, "did not arrive at kdiag: connection refused", "decide about these connections first")
				if p.server.ruleSet.inUse() {
					t.Error("the rules are in use")
				}
			}

			rules := p.pod.Run(t, "nft", "list", "ruleset")
			if strings.Contains(rules, "me@here") || strings.Contains(rules, "_trial_") {
				t.Errorf("left of it:\n%s", rules)
			}
		})
	}
}

// TestProofOfLostRule notices that a rule has gone, and that it is back.
func TestProofOfLostRule(t *testing.T) {
	p := newProofPod(t, nil)
	p.serveNobody(t)
	r, _ := p.mustAttach(t, wire.Attach{Port: 8080})

	backend := p.server.ruleSet.backend
	if err := backend.Detach(r.rules[0]); err != nil {
		t.Fatal(err)
	}
	_, err := r.proveRules(t.Context())
	wantUnproved(t, err, "redirect port 8080: a test connection to ", "were removed")

	if err := backend.Attach(r.rules[0]); err != nil {
		t.Fatal(err)
	}
	if unproven, err := r.proveRules(t.Context()); err != nil || unproven != "" {
		t.Errorf("proof of the rule that is back = %q, %v", unproven, err)
	}

	// A redirect that has ended is not in force, and nothing is wrong with that.
	if err := r.stopRedirecting(); err != nil {
		t.Fatal(err)
	}
	if unproven, err := r.proveRules(t.Context()); err != nil || unproven != "" {
		t.Errorf("proof after the end = %q, %v", unproven, err)
	}
}

// TestProofWithoutAnswer refuses a redirect whose connections another program drops.
func TestProofWithoutAnswer(t *testing.T) {
	p := newProofPod(t, nil)
	p.pod.Run(t, "nft", "table inet wall {\nchain input {\ntype filter hook input priority 0\nct status dnat drop\n}\n}")
	_, _, err := p.attach(t, wire.Attach{Port: 8080})
	wantUnproved(t, err, "no answer within 2s", "drop these connections")
}

// TestProofNeedsOriginalDestination refuses a redirect whose connections would all be dropped,
// because nobody knows where they were going.
func TestProofNeedsOriginalDestination(t *testing.T) {
	for want, original := range map[string]struct {
		destination netip.AddrPort
		err         error
	}{
		"kdiag: connection is not redirected": {err: netfilter.ErrNotRedirected},
		"it came as one to 192.0.2.9:8080":    {destination: netip.MustParseAddrPort("192.0.2.9:8080")},
	} {
		p := newProofPod(t, func(c *Config) {
			c.OriginalDestination = func(syscall.Conn) (netip.AddrPort, error) { return original.destination, original.err }
		})
		_, _, err := p.attach(t, wire.Attach{Port: 8080})
		wantUnproved(t, err, want, "")
	}
}

// TestProofImpossible lets a redirect stand that cannot be tried, and says so.
func TestProofImpossible(t *testing.T) {
	p := newProofPod(t, nil)
	for want, a := range map[string]wire.Attach{
		"192.0.2.1:8080: network is unreachable; [2001:db8::1]:8080: network is unreachable": {Port: 8080, Outgoing: true},
		"203.0.113.9:8080: network is unreachable":                                           {Port: 8080, Outgoing: true, Host: "203.0.113.9"},
		podIPv4 + ":8080: connections of the pod to itself are not outgoing":                 {Port: 8080, Outgoing: true, Host: podIPv4},
	} {
		if _, done := p.mustAttach(t, a); done.Unproven != want {
			t.Errorf("attach %+v: unproven %q, want %q", a, done.Unproven, want)
		}
	}
}

// connectLaptop gives the session a laptop that echoes what its streams bring, and counts them.
func (p *proofPod) connectLaptop(t *testing.T) (streams func() int) {
	t.Helper()
	key, user := muxtest.NewKey(t), muxtest.NewKey(t)
	gate, err := newGate(key, mux.PublicText(user), 1024)
	if err != nil {
		t.Fatal(err)
	}

	near, far := net.Pipe()
	served := make(chan *mux.Session, 1)
	go func() {
		challenge, err := gate.sendChallenge(far)
		if err == nil {
			err = gate.awaitKnock(far, challenge)
		}
		session, openErr := gate.receiveSession(t.Context(), far, mux.SessionOptions{Log: p.server.config.Log})
		if err := errors.Join(err, openErr); err != nil {
			t.Error(err)
		}
		served <- session
	}()

	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no ed25519 key")
	}
	laptop, err := mux.Client(t.Context(), near, user, mux.HashKey(public), mux.SessionOptions{Log: p.server.config.Log})
	if err != nil {
		t.Fatal(err)
	}
	p.session.bindLaptop(<-served)

	var mu sync.Mutex
	count := 0
	var all sync.WaitGroup
	all.Go(func() {
		for {
			stream, err := laptop.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			count++
			mu.Unlock()
			all.Go(func() {
				defer stream.Close()
				_, _ = io.Copy(stream, stream)
				_ = stream.CloseWrite()
			})
		}
	})

	t.Cleanup(func() {
		_, _ = p.session.laptop.Close(), laptop.Close()
		all.Wait()
	})

	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// TestProofBesideConnections proves a redirect again and again, from many sides at once, while
// connections come as fast as they can: each is served, and no trial becomes a stream.
func TestProofBesideConnections(t *testing.T) {
	p := newProofPod(t, nil)
	streams := p.connectLaptop(t)
	r, _ := p.mustAttach(t, wire.Attach{Port: 8080})

	const callers, calls = 100, 5
	var calling sync.WaitGroup
	for i := range callers {
		from := []netnstest.Namespace{p.pod, p.outside}[i%2]
		calling.Go(func() {
			for range calls {
				if err := callOnce(t.Context(), from); err != nil {
					t.Error(err)
				}
			}
		})
	}

	for range 20 {
		if unproven, err := r.proveRules(t.Context()); err != nil || unproven != "" {
			t.Errorf("proof beside connections = %q, %v", unproven, err)
		}
	}

	calling.Wait()
	if got := streams(); got != callers*calls {
		t.Errorf("%d streams, want one for each of %d connections", got, callers*calls)
	}
}

// callOnce sends a line through the redirect and wants it back.
func callOnce(ctx context.Context, from netnstest.Namespace) error {
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", podIPv4+":8080")
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}

	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		return fmt.Errorf("echo = %q, %w", got, err)
	}

	return nil
}

// BenchmarkProof measures what a proof adds to an attach.
func BenchmarkProof(b *testing.B) {
	netnstest.New(b).Enter(b)
	server, err := New(Config{
		Key: muxtest.NewKey(b), User: mux.PublicText(muxtest.NewKey(b)), Version: "v1", ID: "bench", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()

	session := newRedirectSession(server)
	session.holder = "me@here"
	r, _, err := newRedirectListener(b.Context(), session, wire.Attach{Port: 8080, Backend: "nft"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.stopAndReset() }()

	for b.Loop() {
		if _, err := r.proveRules(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
