package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"kdiag/netfilter/netnstest"

	"golang.org/x/sys/unix"
)

// strangerPort is where a stranger listens to whom another program redirects.
const strangerPort = 9090

// watchedTable counts the first packets that reach somebody: in the pod by the port
// that they have there, in the network outside all that arrive.
const watchedTable = `table inet watch {
	chain input {
		type filter hook input priority -300;
		tcp flags syn / fin,syn,rst,ack tcp dport { 8080, 9090 } counter
	}
	chain prerouting {
		type filter hook prerouting priority -300;
		iifname "eth0" tcp flags syn / fin,syn,rst,ack counter
	}
}`

// watchedPod is a pod whose first packets are counted, with a listener that
// remembers from where connections came.
type watchedPod struct {
	pod, outside namespace
	accepted     chan netip.AddrPort
	strangers    atomic.Int32
	// tried holds the sources of earlier trials.
	tried map[netip.AddrPort]bool
}

func watchPod(t *testing.T, pod, outside namespace) *watchedPod {
	t.Helper()
	w := &watchedPod{pod: pod, outside: outside, accepted: make(chan netip.AddrPort, 1000), tried: map[netip.AddrPort]bool{}}
	for _, ns := range []namespace{pod, outside} {
		ns.Run(t, "nft", watchedTable)
	}

	count := func(net.Conn) { w.strangers.Add(1) }
	pod.Serve(t, fmt.Sprintf(":%d", appPort), count)
	pod.Serve(t, fmt.Sprintf(":%d", strangerPort), count)
	outside.Serve(t, ":5432", count)
	pod.Serve(t, fmt.Sprintf(":%d", listener), func(c net.Conn) {
		source := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		w.accepted <- netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	})

	return w
}

// wantNobody wants that no trial has reached anybody but the listener.
func (w *watchedPod) wantNobody(t *testing.T) {
	t.Helper()
	for _, ns := range []namespace{w.pod, w.outside} {
		listing := ns.Run(t, "nft", "list", "table", "inet", "watch")
		for _, counter := range regexp.MustCompile(`packets \d+`).FindAllString(listing, -1) {
			if counter != "packets 0" {
				t.Errorf("somebody got the first packet of a trial:\n%s", listing)
			}
		}
	}

	if n := w.strangers.Load(); n != 0 {
		t.Errorf("%d trials were accepted by somebody else", n)
	}
}

// testedRedirects are one of each kind.
func testedRedirects() []Redirect {
	return []Redirect{incoming(appPort), outgoing(5432, other4), outgoing(5432, other6), outgoing(5432, "")}
}

// openTestTrials opens the trials of a redirect.
func openTestTrials(t *testing.T, b Backend, r Redirect) *Trials {
	t.Helper()
	trials, err := b.(Prover).OpenTrials([]Redirect{r})
	if err != nil {
		t.Fatalf("OpenTrials(%s) = %v", r.describe(), err)
	}
	t.Cleanup(func() {
		if err := trials.Close(); err != nil {
			t.Errorf("close the trials of %s: %v", r.describe(), err)
		}
	})
	return trials
}

// openFreshTrials opens trials of a redirect from sources that no earlier trial had: for
// some seconds conntrack gives another connection from there another port.
func (w *watchedPod) openFreshTrials(t *testing.T, b Backend, r Redirect) *Trials {
	t.Helper()
	for range 10 {
		trials := openTestTrials(t, b, r)
		fresh := true
		for _, trial := range trials.List {
			fresh = fresh && !w.tried[trial.Source]
			w.tried[trial.Source] = true
		}
		if fresh {
			return trials
		}
		if err := trials.Close(); err != nil {
			t.Errorf("close the trials of %s: %v", r.describe(), err)
		}
	}

	t.Fatalf("%s: every source was tried before", r.describe())
	return nil
}

// wantProven wants that each trial of a redirect is accepted by the listener.
func (w *watchedPod) wantProven(t *testing.T, b Backend, r Redirect, want int) {
	t.Helper()
	trials := w.openFreshTrials(t, b, r)
	if len(trials.List) != want {
		t.Errorf("%s: %d trials, untried %q, want %d trials", r.describe(), len(trials.List), trials.Untried, want)
	}

	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()

	for _, trial := range trials.List {
		if err := trial.Connect(ctx); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: connect to %s: %v", r.describe(), trial.Destination, err)
			continue
		}

		for source := (netip.AddrPort{}); source != trial.Source; { // others may be late
			select {
			case source = <-w.accepted:
			case <-ctx.Done():
				t.Fatalf("%s: the listener never got %s", r.describe(), trial.Source)
			}
		}
	}

	if err := trials.Close(); err != nil {
		t.Errorf("%s: Close = %v", r.describe(), err)
	}
}

// wantRefused wants that each trial of a redirect is refused at once.
func (w *watchedPod) wantRefused(t *testing.T, b Backend, r Redirect) {
	t.Helper()
	trials := openTestTrials(t, b, r)
	if len(trials.List) == 0 {
		t.Errorf("%s: no trial, untried %q", r.describe(), trials.Untried)
	}

	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()

	for _, trial := range trials.List {
		if err := trial.Connect(ctx); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: connect to %s: %v, want that it is refused", r.describe(), trial.Destination, err)
		}
	}

	select {
	case source := <-w.accepted:
		t.Errorf("%s: the listener got %s", r.describe(), source)
	default:
	}
}

// newRoutedPod makes a pod with default routes, so that any destination has one.
func newRoutedPod(t *testing.T, pod namespace) {
	t.Helper()
	pod.Run(t, "ip", "route", "add", "default", "via", outside4)
	pod.Run(t, "ip", "-6", "route", "add", "default", "via", outside6)
}

// TestTrials tries every kind of redirect, with every back end.
func TestTrials(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		newRoutedPod(t, pod)
		w := watchPod(t, pod, outside)
		backend := b.open(t, testConfig("abc1"))
		attachAll(t, backend, testedRedirects()...)
		listing := b.listRules(t, pod)

		for i, want := range []int{2, 1, 1, 2} {
			w.wantProven(t, backend, testedRedirects()[i], want)
		}

		w.wantNobody(t)
		if got := b.listRules(t, pod); got != listing {
			t.Errorf("listing after the trials =\n%s\nwant\n%s", got, listing)
		}
	})
}

// TestTrialsWithoutRule tries redirects that are not in force, each way that rules
// can be gone: nobody gets a packet.
func TestTrialsWithoutRule(t *testing.T) {
	ways := map[string]string{
		"nft without owner": "flush table inet kdiag_abc1",
		"iptables-nft":      "flush table ip nat; flush table ip6 nat",
		"iptables-legacy":   "iptables-legacy -t nat -F; ip6tables-legacy -t nat -F",
	}

	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		newRoutedPod(t, pod)
		w := watchPod(t, pod, outside)
		backend := b.open(t, testConfig("abc1"))
		for _, r := range testedRedirects() {
			w.wantRefused(t, backend, r)
		}

		if way := ways[b.name]; way != "" {
			attachAll(t, backend, testedRedirects()...)
			if !strings.HasPrefix(way, "iptables") {
				way = "nft '" + way + "'"
			}
			pod.Run(t, "sh", "-c", way)
			for _, r := range testedRedirects() {
				w.wantRefused(t, backend, r)
			}
		}

		w.wantNobody(t)
	})
}

// TestTrialsWithoutElement deletes one element behind the manager's back.
func TestTrialsWithoutElement(t *testing.T) {
	pod, outside := newPod(t)
	w := watchPod(t, pod, outside)
	b := testBackend{backend: "nft"}
	backend := b.open(t, testConfig("abc1"))
	attachAll(t, backend, incoming(appPort), outgoing(5432, other4))

	pod.Run(t, "nft", "delete element inet kdiag_abc1 incoming { 8080 }")
	w.wantRefused(t, backend, incoming(appPort))
	w.wantProven(t, backend, outgoing(5432, other4), 1)
	w.wantNobody(t)
}

// strangersTable is a table with a rule for connections from the pod that decides
// before ours.
func strangersTable(rule string) string {
	return "table inet stranger {\nchain output {\ntype nat hook output priority -150\n" + rule + "\n}\n}"
}

// TestTrialsAfterOthers tries redirects of connections that another program's rules
// decide about first.
func TestTrialsAfterOthers(t *testing.T) {
	for name, verdict := range map[string]string{
		"redirect":            "redirect to :9090",
		"forward":             "dnat ip to 10.1.0.1:15001",
		"same port elsewhere": "dnat ip to 10.1.0.2:15001",
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
				w := watchPod(t, pod, outside)
				backend := b.open(t, testConfig("abc1"))
				redirects := []Redirect{incoming(appPort), outgoing(5432, other4)}
				attachAll(t, backend, redirects...)

				pod.Run(t, "nft", strangersTable("meta l4proto tcp "+verdict))
				for _, r := range redirects {
					trials := openTestTrials(t, backend, r)
					if err := trials.List[0].Connect(t.Context()); !errors.Is(err, unix.ECONNREFUSED) {
						t.Errorf("%s: connect = %v, want that it is refused", r.describe(), err)
					}
				}
				w.wantNobody(t)
			})
		})
	}
}

// TestTrialsAfterAccept has an earlier rule accept everything. In a chain of its own
// that decides nothing; in the chain of iptables it hides our rules.
func TestTrialsAfterAccept(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		w := watchPod(t, pod, outside)
		backend := b.open(t, testConfig("abc1"))
		attachAll(t, backend, incoming(appPort))

		pod.Run(t, "nft", strangersTable("accept"))
		w.wantProven(t, backend, incoming(appPort), 2)
		if b.backend == "iptables" {
			for _, program := range []string{"iptables-", "ip6tables-"} {
				pod.Run(t, program+b.variant.iptables, "-t", "nat", "-I", "OUTPUT", "-j", "ACCEPT")
			}
			w.wantRefused(t, backend, incoming(appPort))
		}

		w.wantNobody(t)
	})
}

// TestTrialFamilies tries in the families that a namespace has.
func TestTrialFamilies(t *testing.T) {
	for name, test := range map[string]struct {
		remove  string
		sources []string
	}{
		"dual stack": {"true", []string{pod4, pod6}},
		"IPv4":       {"ip -6 address flush dev eth0", []string{pod4}},
		"IPv6":       {"ip -4 address flush dev eth0", []string{pod6}},
		"loopback":   {"ip address flush dev eth0", []string{"127.0.0.1", "::1"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
				w := watchPod(t, pod, outside)
				pod.Run(t, "sh", "-c", test.remove)
				backend := b.open(t, testConfig("abc1"))
				attachAll(t, backend, incoming(appPort), outgoing(5432, ""))
				w.wantProven(t, backend, incoming(appPort), len(test.sources))

				// Without a default route nobody's address cannot be tried.
				trials := openTestTrials(t, backend, outgoing(5432, ""))
				if len(trials.List) != 0 || len(trials.Untried) != 2 {
					t.Errorf("without a route: %d trials, untried %q, want none and 2", len(trials.List), trials.Untried)
				}
				w.wantNobody(t)
			})
		})
	}
}

// TestTrialsUntried names what cannot be tried.
func TestTrialsUntried(t *testing.T) {
	newPod(t)
	backend := testBackend{backend: "nft", variant: backendVariant{tableFlags: tableOwner}}.open(t, testConfig("abc1"))

	redirects := []Redirect{outgoing(5432, pod4), outgoing(5432, "203.0.113.9")}
	for i := range maxTrials + 2 {
		redirects = append(redirects, outgoing(5432, fmt.Sprintf("10.1.0.%d", i+10)))
	}

	trials, err := backend.(Prover).OpenTrials(redirects)
	if err != nil {
		t.Fatal(err)
	}
	defer trials.Close()

	want := []string{
		"10.1.0.2:5432: connections of the pod to itself are not outgoing",
		"203.0.113.9:5432: network is unreachable",
		"10.1.0.26:5432: more than 16 addresses",
		"10.1.0.27:5432: more than 16 addresses",
	}
	if len(trials.List) != maxTrials || !slices.Equal(trials.Untried, want) {
		t.Errorf("%d trials, untried %q, want %d and %q", len(trials.List), trials.Untried, maxTrials, want)
	}
}

// TestTrialsBesideConnections tries while others connect, who notice nothing.
func TestTrialsBesideConnections(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithDestination)
		backend := b.open(t, testConfig("abc1"))
		attachAll(t, backend, incoming(appPort))

		ctx, stop := context.WithCancel(t.Context())
		done := make(chan int)
		go func() {
			made := 0
			for ; ctx.Err() == nil; made++ {
				for _, from := range []namespace{pod, outside} {
					c, err := dialFrom(from, 0, "10.1.0.2:8080")
					if err != nil || c.greeting != "redirected from 10.1.0.2:8080" {
						t.Errorf("dial beside a trial: %v, greeted with %q", err, c.greeting)
					}
					if err == nil {
						c.Close()
					}
				}
			}
			done <- made
		}()

		for range 50 {
			trials := openTestTrials(t, backend, incoming(appPort))
			for _, trial := range trials.List {
				if err := trial.Connect(t.Context()); err != nil {
					t.Errorf("connect beside others: %v", err)
				}
			}
			if err := trials.Close(); err != nil {
				t.Error(err)
			}
		}

		stop()
		if made := <-done; made == 0 {
			t.Error("nobody connected meanwhile")
		}
	})
}

// TestGuardIsSwept removes the guard that a killed manager left on a kernel that does
// not know owners.
func TestGuardIsSwept(t *testing.T) {
	pod := netnstest.New(t)
	pod.Enter(t)
	pod.Run(t, "nft", "add table inet kdiag_dead_trial_40000; add table inet kdiag_dead; add table inet kdiag_x_other")
	backend := testBackend{backend: "nft"}.open(t, testConfig("abc1"))

	if list := pod.Run(t, "nft", "list", "tables"); strings.Contains(list, "dead") || !strings.Contains(list, "kdiag_x_other") {
		t.Errorf("tables after Open of %s =\n%s", backend.Name(), list)
	}
}

func TestPickOwnAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "[]",
		"127.0.0.1 ::1":                       "[127.0.0.1 ::1]",
		"127.0.0.1 10.0.0.1 10.0.0.2 ::1":     "[10.0.0.1]",
		"127.0.0.1 fe80::1 ::1":               "[127.0.0.1 ::1]",
		"169.254.1.1 fd00::1 127.0.0.1":       "[fd00::1]",
		"::ffff:10.0.0.1 2001:db8::1 ff02::1": "[10.0.0.1 2001:db8::1]",
	} {
		var all []netip.Addr
		for _, word := range strings.Fields(text) {
			all = append(all, netip.MustParseAddr(word))
		}
		if got := fmt.Sprint(pickOwnAddresses(all)); got != want {
			t.Errorf("pickOwnAddresses(%s) = %s, want %s", text, got, want)
		}
	}
}
