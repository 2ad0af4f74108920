package netfilter

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestForgetListeners has conntrack forget what led to some listeners, in both families, and nothing
// else.
func TestForgetListeners(t *testing.T) {
	pod, outside := newPod(t)
	b, err := Open("nft", Config{ID: "forget", Mark: testMark})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })

	const keptPort, keptListener = appPort + 1, listener + 1
	attachAll(t, b, incoming(appPort), Redirect{Direction: Incoming, Port: keptPort, Listener: keptListener, Holder: "me@here"})
	for _, port := range []int{listener, keptListener} {
		startServer(t, pod, port, greetWithDestination)
	}
	for _, address := range []string{pod4, pod6} {
		for _, port := range []int{appPort, keptPort} {
			to := net.JoinHostPort(address, fmt.Sprint(port))
			wantGreeting(t, outside, 0, to, "redirected from "+to)
		}
	}

	if err := ForgetListeners([]uint16{listener}); err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		entries := pod.Run(t, "conntrack", "-L", "-f", family)
		if strings.Contains(entries, fmt.Sprintf("sport=%d ", listener)) {
			t.Errorf("%s: conntrack has not forgotten port %d:\n%s", family, listener, entries)
		}
		if !strings.Contains(entries, fmt.Sprintf("sport=%d ", keptListener)) {
			t.Errorf("%s: conntrack has forgotten port %d:\n%s", family, keptListener, entries)
		}
	}
}

// TestForgetOwnListeners has conntrack keep what others redirect to another host, at a port that is a
// listener's here.
func TestForgetOwnListeners(t *testing.T) {
	pod, outside := newPod(t)
	const sent = "10.99.99.99"
	pod.Run(t, "ip", "route", "add", sent, "dev", "eth0")
	pod.Run(t, "nft", "add table ip others { chain out { type nat hook output priority -100; ip protocol tcp "+
		fmt.Sprintf("ip daddr %s dnat to %s:%d; }; }", sent, outside4, listener))
	startServer(t, outside, listener, greetWith("elsewhere"))

	for what, forget := range map[string]func() error{
		"ForgetListeners":     func() error { return ForgetListeners([]uint16{listener}) },
		"ForgetDeadListeners": func() error { return ForgetDeadListeners(func(uint16) bool { return false }) },
	} {
		wantGreeting(t, pod, 0, net.JoinHostPort(sent, fmt.Sprint(appPort)), "elsewhere")
		if err := forget(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if entries := pod.Run(t, "conntrack", "-L"); !strings.Contains(entries, "dst="+sent) {
			t.Errorf("%s: conntrack has forgotten a connection to another host:\n%s", what, entries)
		}
	}
}

// TestListAfterError reads the list of one family whole, although that of the other was given up in the
// middle.
func TestListAfterError(t *testing.T) {
	pod, outside := newPod(t)
	b, err := Open("nft", Config{ID: "list", Mark: testMark})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	attachAll(t, b, incoming(appPort))
	startServer(t, pod, listener, greetWithDestination)

	// The kernel gives so many in several pieces.
	const connections = 400
	for range connections {
		c, err := dialFrom(outside, 0, net.JoinHostPort(pod4, fmt.Sprint(appPort)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	to6 := net.JoinHostPort(pod6, fmt.Sprint(appPort))
	wantGreeting(t, outside, 0, to6, "redirected from "+to6)

	counts, broken := map[byte]int{}, errors.New("broken")
	err = eachRedirected(func(family byte, found redirectedTuple) error {
		if counts[family]++; family == unix.AF_INET {
			return broken
		}
		if found.address != netip.MustParseAddr(pod6) {
			t.Errorf("a connection that arrives at %s is listed as one of IPv6", found.address)
		}
		return nil
	})
	if !errors.Is(err, broken) || counts[unix.AF_INET] != 1 || counts[unix.AF_INET6] != 1 {
		t.Errorf("eachRedirected = %v after %v, want %v after one connection of each family", err, counts, broken)
	}
}

// FuzzConntrack wants a message that is broken to be read without a panic.
func FuzzConntrack(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 8, 0, 1, 0x80, 4, 0, 2, 0})
	f.Add([]byte{2, 0, 0, 0, 0xff, 0xff, 1, 0})
	f.Fuzz(func(t *testing.T, message []byte) {
		if found, ok := parseRedirected(message); ok && found.listener == 0 {
			t.Errorf("%x is read as %+v", message, found)
		}
	})
}
