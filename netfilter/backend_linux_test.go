package netfilter

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"kdiag/integration/testenv"
	"kdiag/netfilter/netnstest"
)

// testBackend names a back end, its variant, and the commands that list what it put
// into the kernel.
type testBackend struct {
	name    string
	backend string
	variant backendVariant
	listing [][]string
}

func testBackends() []testBackend {
	return []testBackend{
		{"nft", "nft", backendVariant{tableFlags: tableOwner}, [][]string{{"nft", "list", "ruleset"}}},
		{"nft without owner", "nft", backendVariant{}, [][]string{{"nft", "list", "ruleset"}}},
		{"iptables-nft", "iptables", backendVariant{iptables: "nft"},
			[][]string{{"iptables-nft-save"}, {"ip6tables-nft-save"}, {"nft", "list", "ruleset"}}},
		{"iptables-legacy", "iptables", backendVariant{iptables: "legacy"},
			[][]string{{"iptables-legacy-save", "-t", "nat"}, {"ip6tables-legacy-save", "-t", "nat"}}},
	}
}

// eachBackend runs a test with each back end, each time in a new pod.
func eachBackend(t *testing.T, test func(t *testing.T, b testBackend, pod, outside namespace)) {
	for _, b := range testBackends() {
		t.Run(b.name, func(t *testing.T) {
			testenv.MustHaveRoot(t)
			needTools(t, b.listing)
			pod, outside := newPod(t)
			test(t, b, pod, outside)
		})
	}
}

func needTools(t *testing.T, commands [][]string) {
	t.Helper()
	for _, command := range commands {
		if _, err := exec.LookPath(command[0]); err != nil {
			testenv.Missing(t, "%v", err)
		}
	}
}

func testConfig(id string) Config { return Config{ID: id, Mark: testMark} }

// open opens the back end and closes it when the test ends.
func (b testBackend) open(t *testing.T, c Config) Backend {
	t.Helper()
	got, err := openVariant(b.backend, c, b.variant)
	if err != nil {
		t.Fatalf("openVariant(%q, %+v) = %v", b.backend, c, err)
	}

	t.Cleanup(func() {
		if err := got.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})

	return got
}

func (b testBackend) listRules(t *testing.T, pod namespace) string {
	t.Helper()
	var out strings.Builder
	for _, command := range b.listing {
		out.WriteString(pod.Run(t, command...))
	}

	// Listings carry their time and counters, which change.
	text := regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|packets \d+ bytes \d+`).ReplaceAllString(out.String(), "")

	// Versions of nft differ in how they write this.
	return strings.ReplaceAll(text, "tcp flags & (fin | syn | rst | ack) == syn ", "tcp flags syn / fin,syn,rst,ack ")
}

func attachAll(t *testing.T, b Backend, redirects ...Redirect) {
	t.Helper()
	for _, r := range redirects {
		if err := b.Attach(r); err != nil {
			t.Fatalf("Attach(%+v) = %v", r, err)
		}
	}
}

func incoming(port uint16) Redirect {
	return Redirect{Direction: Incoming, Port: port, Listener: listener, Holder: `it's "me" \o/`}
}

func outgoing(port uint16, address string) Redirect {
	r := Redirect{Direction: Outgoing, Port: port, Listener: listener, Holder: "alice@laptop"}
	if address != "" {
		r.Address = netip.MustParseAddr(address)
	}
	return r
}

func TestListing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, _ namespace) {
		first := b.listRules(t, pod)
		c := testConfig("abc1")
		c.Exclude = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:53"), netip.MustParseAddrPort("[fd00:1::1]:53")}
		backend := b.open(t, c)
		if got := backend.Name(); got != b.backend {
			t.Errorf("Name() = %q, want %q", got, b.backend)
		}

		attachAll(t, backend, incoming(appPort), outgoing(53, ""), outgoing(53, other4), outgoing(53, other6))

		listing := b.listRules(t, pod)
		for _, want := range wantListing(b) {
			if !strings.Contains(listing, want) {
				t.Errorf("listing has no %q:\n%s", want, listing)
			}
		}

		if err := backend.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if got := b.listRules(t, pod); got != first {
			t.Errorf("listing after Close =\n%s\nwant\n%s", got, first)
		}
		if err := backend.Attach(incoming(appPort)); !errors.Is(err, errClosed) {
			t.Errorf("Attach after Close = %v, want %v", err, errClosed)
		}
	})
}

func wantListing(b testBackend) []string {
	if b.backend == "iptables" {
		return []string{
			"-A PREROUTING ! -i lo -p tcp -j KDIAG-abc1-IN",
			"-A OUTPUT -o lo -p tcp -m mark ! --mark 0x6b64 -j KDIAG-abc1-IN",
			"-A OUTPUT ! -o lo -p tcp -m mark ! --mark 0x6b64 -j KDIAG-abc1-OUT",
			`--dport 8080 --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "it\'s \"me\" \\o/" -j REDIRECT --to-ports 15001`,
			"-A KDIAG-abc1-OUT -d 10.1.0.3/32 -p tcp -m tcp --dport 53 ",
			"-A KDIAG-abc1-OUT -d fd00:1::3/128 -p tcp -m tcp --dport 53 ",
			"-A KDIAG-abc1-OUT -d 10.1.0.1/32 -p tcp -m tcp --dport 53 -j RETURN",
			"-A KDIAG-abc1-OUT -d fd00:1::1/128 -p tcp -m tcp --dport 53 -j RETURN",
		}
	}

	want := []string{
		"table inet kdiag_abc1 {",
		`elements = { 8080 comment "it's "me" \o/" : 15001 }`,
		`elements = { 53 comment "alice@laptop" : 15001 }`,
		`elements = { 10.1.0.3 . 53 comment "alice@laptop" : 15001 }`,
		`elements = { fd00:1::3 . 53 comment "alice@laptop" : 15001 }`,
		"elements = { 10.1.0.1 . 53 }",
		"elements = { fd00:1::1 . 53 }",
		"type nat hook prerouting priority dstnat - 1; policy accept;",
		"type nat hook output priority -101; policy accept;",
		"meta mark 0x00006b64 return",
		`tcp flags syn / fin,syn,rst,ack iifname != "lo" redirect to :tcp dport map @incoming`,
		`tcp flags syn / fin,syn,rst,ack oifname "lo" redirect to :tcp dport map @incoming`,
		`tcp flags syn / fin,syn,rst,ack oifname != "lo" meta nfproto ipv4 redirect to :ip daddr . tcp dport map @outgoing4`,
		`tcp flags syn / fin,syn,rst,ack oifname != "lo" meta nfproto ipv6 redirect to :ip6 daddr . tcp dport map @outgoing6`,
		`tcp flags syn / fin,syn,rst,ack oifname != "lo" ip daddr . tcp dport @excluded4 return`,
		`tcp flags syn / fin,syn,rst,ack oifname != "lo" redirect to :tcp dport map @outgoing`,
	}
	if b.variant.tableFlags == tableOwner {
		want = append(want, "flags owner")
	}

	return want
}

func TestIncoming(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithDestination)
		backend := b.open(t, testConfig("abc1"))
		attachAll(t, backend, incoming(appPort))

		for _, to := range []string{"10.1.0.2:8080", "[fd00:1::2]:8080"} {
			wantGreeting(t, outside, 0, to, "redirected from "+to)
			wantGreeting(t, pod, 0, to, "redirected from "+to)
			wantGreeting(t, pod, testMark, to, "app")
		}

		for _, to := range []string{"127.0.0.1:8080", "[::1]:8080"} {
			wantGreeting(t, pod, 0, to, "redirected from "+to)
			wantGreeting(t, pod, testMark, to, "app")
		}

		for _, to := range []string{"10.1.0.2:15001", "[fd00:1::2]:15001"} {
			wantGreeting(t, outside, 0, to, "not redirected")
		}

		wantGreeting(t, pod, 0, "127.0.0.1:15001", "not redirected")

		if err := backend.Detach(incoming(appPort)); err != nil {
			t.Fatalf("Detach = %v", err)
		}

		wantGreeting(t, outside, 0, "10.1.0.2:8080", "app")
		wantGreeting(t, pod, 0, "[::1]:8080", "app")

		if err := backend.Detach(incoming(appPort)); !errors.Is(err, errNotAttached) {
			t.Errorf("second Detach = %v, want %v", err, errNotAttached)
		}
	})
}

func TestOutgoing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		startServer(t, outside, 5432, greetWith("outside"))
		startServer(t, outside, 5433, greetWith("outside"))
		startServer(t, pod, 5432, greetWith("app"))
		startServer(t, pod, listener, greetWithDestination)
		startServer(t, pod, listener+1, func(c net.Conn) string { return "by address " + greetWithDestination(c) })

		c := testConfig("abc1")
		c.Exclude = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:5432"), netip.MustParseAddrPort("[fd00:1::1]:5432")}
		backend := b.open(t, c)
		byAddress4, byAddress6 := outgoing(5433, other4), outgoing(5433, other6)
		byAddress4.Listener, byAddress6.Listener = listener+1, listener+1
		attachAll(t, backend, outgoing(5432, ""), byAddress4, byAddress6)

		for to, want := range map[string]string{
			"10.1.0.1:5432":    "outside", // excluded
			"[fd00:1::1]:5432": "outside",
			"10.1.0.3:5432":    "redirected from 10.1.0.3:5432",
			"[fd00:1::3]:5432": "redirected from [fd00:1::3]:5432",
			"10.1.0.1:5433":    "outside", // another's address
			"[fd00:1::1]:5433": "outside",
			"10.1.0.3:5433":    "by address redirected from 10.1.0.3:5433",
			"[fd00:1::3]:5433": "by address redirected from [fd00:1::3]:5433",
			"127.0.0.1:5432":   "app", // over lo
			"10.1.0.2:5432":    "app",
			"[fd00:1::2]:5432": "app",
		} {
			wantGreeting(t, pod, 0, to, want)
		}

		wantGreeting(t, outside, 0, "10.1.0.2:5432", "app")
		wantGreeting(t, pod, testMark, "10.1.0.3:5432", "outside")
		wantGreeting(t, pod, testMark, "[fd00:1::3]:5433", "outside")

		// A port can have both kinds. The one with an address goes first, even for an
		// excluded destination.
		both := outgoing(5432, outside4)
		both.Listener = listener + 1
		attachAll(t, backend, both)
		wantGreeting(t, pod, 0, "10.1.0.1:5432", "by address redirected from 10.1.0.1:5432")
		wantGreeting(t, pod, 0, "10.1.0.3:5432", "redirected from 10.1.0.3:5432")
	})
}

// TestLiveConnections checks that Attach breaks no connection from before it, and
// that Detach breaks no redirected one.
func TestLiveConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithDestination)

		before := dialMany(t, outside, "app")
		backend := b.open(t, testConfig("abc1"))
		attachAll(t, backend, incoming(appPort))
		wantAlive(t, "after Attach", before)

		redirected := dialMany(t, outside, "redirected from")
		wantAlive(t, "redirected", redirected)

		if err := backend.Detach(incoming(appPort)); err != nil {
			t.Fatalf("Detach = %v", err)
		}

		wantAlive(t, "after Detach", redirected)
		wantAlive(t, "after Detach", before)
		wantGreeting(t, outside, 0, "10.1.0.2:8080", "app")
	})
}

// TestHeld checks that no redirect is attached twice, neither by one manager nor by
// two with different back ends.
func TestHeld(t *testing.T) {
	for _, second := range testBackends() {
		if second.name == "nft without owner" {
			continue
		}

		eachBackend(t, func(t *testing.T, b testBackend, _, _ namespace) {
			needTools(t, second.listing)
			one, two := b.open(t, testConfig("one")), second.open(t, testConfig("two"))
			attachAll(t, one, incoming(appPort), outgoing(53, other4), outgoing(53, other6), outgoing(53, ""))
			for _, r := range []Redirect{incoming(appPort), outgoing(53, other4), outgoing(53, other6), outgoing(53, "")} {
				wantHeld(t, one, r)
				wantHeld(t, two, r)
			}

			attachAll(t, two, incoming(appPort+1), outgoing(54, ""), outgoing(53, outside4), outgoing(appPort, ""))
			for _, r := range []Redirect{
				{Direction: Incoming, Port: listener, Listener: listener + 1, Holder: "a listener's port"},
				{Direction: Incoming, Port: 99, Listener: appPort, Holder: "a redirected listener"},
			} {
				if err := two.Attach(r); err == nil {
					t.Errorf("Attach(%+v) succeeded, want an error", r)
				}
			}

			if err := one.Detach(incoming(appPort)); err != nil {
				t.Errorf("Detach = %v", err)
			}
			attachAll(t, two, incoming(appPort))
		})
	}
}

func wantHeld(t *testing.T, b Backend, r Redirect) {
	t.Helper()
	want := r.Holder
	r.Holder = "bob"
	var held *HeldError
	if err := b.Attach(r); !errors.As(err, &held) || held.Holder != want || held.Redirect != r {
		t.Errorf("Attach(%+v) = %v, want that %q holds it", r, err, want)
	}
}

// TestSameID checks that no two managers of a namespace have the same id.
func TestSameID(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, _, _ namespace) {
		first := b.open(t, testConfig("one"))
		if _, err := openVariant(b.backend, testConfig("one"), b.variant); !errors.Is(err, errIDInUse) {
			t.Errorf("second open = %v, want %v", err, errIDInUse)
		}
		if err := first.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		b.open(t, testConfig("one"))
	})
}

func TestOpenRefuses(t *testing.T) {
	good := Config{ID: "a", Mark: 1}
	for _, test := range []struct {
		name string
		c    Config
	}{
		{"ebpf", good},
		{"nft", Config{Mark: 1}},
		{"nft", Config{ID: "UPPER", Mark: 1}},
		{"nft", Config{ID: "thirteenchars", Mark: 1}},
		{"nft", Config{ID: "a"}},
		{"nft", Config{ID: "a", Mark: 1, Exclude: []netip.AddrPort{{}}}},
	} {
		if b, err := Open(test.name, test.c); err == nil {
			t.Errorf("Open(%q, %+v) = %v, want an error", test.name, test.c, b.Name())
		}
	}
}

func TestNoIPTables(t *testing.T) {
	netnstest.New(t).Enter(t)
	t.Setenv("PATH", t.TempDir())
	if _, err := Open("iptables", Config{ID: "a", Mark: 1}); err == nil || !strings.Contains(err.Error(), "no iptables program") {
		t.Errorf("Open(iptables) without the program = %v, want that there is none", err)
	}

	b, err := Open("auto", Config{ID: "a", Mark: 1})
	if err != nil || b.Name() != "nft" {
		t.Fatalf("Open(auto) = %v, %v, want nft", b, err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
}
