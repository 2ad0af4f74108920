package netfilter

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"regexp"

	"kdiag/netfilter/netnstest"

	"strings"
	"testing"
)

// testBackend is a back end as a test opens it, and the listing that is its oracle.
type testBackend struct {
	name    string
	backend string
	variant backendVariant
	dump    [][]string
}

func testBackends() []testBackend {
	return []testBackend{
		{"nft", "nft", backendVariant{tableFlags: tableOwner}, [][]string{{"nft", "list", "ruleset"}}},
		{"nft without owner", "nft", backendVariant{}, [][]string{{"nft", "list", "ruleset"}}},
		{"iptables-nft", "iptables", backendVariant{iptables: "nft"}, [][]string{{"iptables-nft-save"}, {"ip6tables-nft-save"}, {"nft", "list", "ruleset"}}},
		{"iptables-legacy", "iptables", backendVariant{iptables: "legacy"}, [][]string{{"iptables-legacy-save", "-t", "nat"}, {"ip6tables-legacy-save", "-t", "nat"}}},
	}
}

// eachBackend runs a test with each back end, in a pod of its own.
func eachBackend(t *testing.T, test func(t *testing.T, b testBackend, pod, outside namespace)) {
	for _, b := range testBackends() {
		t.Run(b.name, func(t *testing.T) {
			netnstest.NeedRoot(t)
			needTools(t, b.dump)
			pod, outside := newPod(t)
			test(t, b, pod, outside)
		})
	}
}

func needTools(t *testing.T, commands [][]string) {
	t.Helper()
	for _, command := range commands {
		if _, err := exec.LookPath(command[0]); err != nil {
			netnstest.Unmet(t, err.Error())
		}
	}
}

func testConfig(id string) Config { return Config{ID: id, Mark: testMark} }

// open opens the back end, and closes it at the test's end.
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

func (b testBackend) list(t *testing.T, pod namespace) string {
	t.Helper()
	var out strings.Builder
	for _, command := range b.dump {
		out.WriteString(pod.Run(t, command...))
	}
	// The time of the listing, and counters.
	text := regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]|packets \d+ bytes \d+`).ReplaceAllString(out.String(), "")
	// Another version's way to write the same.
	return strings.ReplaceAll(text, "tcp flags & (fin | syn | rst | ack) == syn ", "tcp flags syn / fin,syn,rst,ack ")
}

func attach(t *testing.T, b Backend, redirects ...Redirect) {
	t.Helper()
	for _, r := range redirects {
		if err := b.Attach(r); err != nil {
			t.Fatalf("Attach(%+v) = %v", r, err)
		}
	}
}

func in(port uint16) Redirect {
	return Redirect{Direction: Incoming, Port: port, Listener: listener, Holder: `it's "me" \o/`}
}

func out(port uint16, address string) Redirect {
	r := Redirect{Direction: Outgoing, Port: port, Listener: listener, Holder: "alice@laptop"}
	if address != "" {
		r.Address = netip.MustParseAddr(address)
	}
	return r
}

func TestListing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, _ namespace) {
		first := b.list(t, pod)
		c := testConfig("abc1")
		c.Exclude = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:53"), netip.MustParseAddrPort("[fd00:1::1]:53")}
		backend := b.open(t, c)
		if got := backend.Name(); got != b.backend {
			t.Errorf("Name() = %q, want %q", got, b.backend)
		}

		attach(t, backend, in(appPort), out(53, ""), out(53, other4), out(53, other6))
		listing := b.list(t, pod)
		for _, want := range wantListed(b) {
			if !strings.Contains(listing, want) {
				t.Errorf("listing has no %q:\n%s", want, listing)
			}
		}

		if err := backend.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if got := b.list(t, pod); got != first {
			t.Errorf("listing after Close =\n%s\nwant\n%s", got, first)
		}
		if err := backend.Attach(in(appPort)); !errors.Is(err, errClosed) {
			t.Errorf("Attach after Close = %v, want %v", err, errClosed)
		}
	})
}

func wantListed(b testBackend) []string {
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
		serve(t, pod, appPort, says("app"))
		serve(t, pod, listener, original)
		backend := b.open(t, testConfig("abc1"))
		attach(t, backend, in(appPort))
		for _, to := range []string{"10.1.0.2:8080", "[fd00:1::2]:8080"} {
			expect(t, outside, 0, to, "redirected from "+to)
			expect(t, pod, 0, to, "redirected from "+to)
			expect(t, pod, testMark, to, "app")
		}

		for _, to := range []string{"127.0.0.1:8080", "[::1]:8080"} {
			expect(t, pod, 0, to, "redirected from "+to)
			expect(t, pod, testMark, to, "app")
		}

		for _, to := range []string{"10.1.0.2:15001", "[fd00:1::2]:15001"} {
			expect(t, outside, 0, to, "not redirected")
		}

		expect(t, pod, 0, "127.0.0.1:15001", "not redirected")
		if err := backend.Detach(in(appPort)); err != nil {
			t.Fatalf("Detach = %v", err)
		}

		expect(t, outside, 0, "10.1.0.2:8080", "app")
		expect(t, pod, 0, "[::1]:8080", "app")
		if err := backend.Detach(in(appPort)); !errors.Is(err, errNotAttached) {
			t.Errorf("second Detach = %v, want %v", err, errNotAttached)
		}
	})
}

func TestOutgoing(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		serve(t, outside, 5432, says("outside"))
		serve(t, outside, 5433, says("outside"))
		serve(t, pod, 5432, says("app"))
		serve(t, pod, listener, original)
		serve(t, pod, listener+1, func(c net.Conn) string { return "by address " + original(c) })
		c := testConfig("abc1")
		c.Exclude = []netip.AddrPort{netip.MustParseAddrPort("10.1.0.1:5432"), netip.MustParseAddrPort("[fd00:1::1]:5432")}
		backend := b.open(t, c)
		byAddress4, byAddress6 := out(5433, other4), out(5433, other6)
		byAddress4.Listener, byAddress6.Listener = listener+1, listener+1
		attach(t, backend, out(5432, ""), byAddress4, byAddress6)
		for to, want := range map[string]string{
			"10.1.0.1:5432":    "outside", // spare
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
			expect(t, pod, 0, to, want)
		}

		expect(t, outside, 0, "10.1.0.2:5432", "app")
		expect(t, pod, testMark, "10.1.0.3:5432", "outside")
		expect(t, pod, testMark, "[fd00:1::3]:5433", "outside")

		// Both kinds for one port; that with an address goes first, spared or not.
		both := out(5432, outside4)
		both.Listener = listener + 1
		attach(t, backend, both)
		expect(t, pod, 0, "10.1.0.1:5432", "by address redirected from 10.1.0.1:5432")
		expect(t, pod, 0, "10.1.0.3:5432", "redirected from 10.1.0.3:5432")
	})
}

// TestLiveConnections: those that were there before live through Attach, and
// redirected ones through Detach.
func TestLiveConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		serve(t, pod, appPort, says("app"))
		serve(t, pod, listener, original)
		before := many(t, outside, "app")
		backend := b.open(t, testConfig("abc1"))
		attach(t, backend, in(appPort))
		allLive(t, "after Attach", before)
		redirected := many(t, outside, "redirected from")
		allLive(t, "redirected", redirected)
		if err := backend.Detach(in(appPort)); err != nil {
			t.Fatalf("Detach = %v", err)
		}

		allLive(t, "after Detach", redirected)
		allLive(t, "after Detach", before)
		expect(t, outside, 0, "10.1.0.2:8080", "app")
	})
}

func TestHeld(t *testing.T) {
	for _, second := range testBackends() {
		if second.name == "nft without owner" {
			continue
		}

		eachBackend(t, func(t *testing.T, b testBackend, _, _ namespace) {
			needTools(t, second.dump)
			one, two := b.open(t, testConfig("one")), second.open(t, testConfig("two"))
			attach(t, one, in(appPort), out(53, other4), out(53, other6), out(53, ""))
			for _, r := range []Redirect{in(appPort), out(53, other4), out(53, other6), out(53, "")} {
				wantHeld(t, one, r)
				wantHeld(t, two, r)
			}

			attach(t, two, in(appPort+1), out(54, ""), out(53, outside4), out(appPort, ""))
			for _, r := range []Redirect{
				{Direction: Incoming, Port: listener, Listener: listener + 1, Holder: "a listener's port"},
				{Direction: Incoming, Port: 99, Listener: appPort, Holder: "a redirected listener"},
			} {
				if err := two.Attach(r); err == nil {
					t.Errorf("Attach(%+v) succeeded, want an error", r)
				}
			}

			if err := one.Detach(in(appPort)); err != nil {
				t.Errorf("Detach = %v", err)
			}

			attach(t, two, in(appPort))
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

// TestSameID: no two of one id live in a namespace.
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
