package redirectserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"kdiag/mux/wire"
)

// newFollower makes a redirect by a name that led to the address one, and leads to host now. The
// kernel has its rule.
func newFollower(t *testing.T, rules *ruleSet, host string, tell func(wire.Moved) error) *redirectListener {
	t.Helper()
	if _, _, err := rules.attachRules("auto", outgoingRules(one)); err != nil {
		t.Fatal(err)
	}

	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })

	return &redirectListener{
		probed: newProbeCount(0, nil),
		attach: wire.Attach{ID: 1, Outgoing: true, Port: 80, Host: host}, ruleSet: rules, listener: listener,
		rules: outgoingRules(one), destinations: []netip.AddrPort{netip.AddrPortFrom(one, 80)}, tellMoved: tell,
		resolve: newResolver(dialMarked),
		stop:    func() {}, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// TestStopWhileTelling stops a redirect whose laptop does not take the news of its addresses.
func TestStopWhileTelling(t *testing.T) {
	rules, made := newTestRuleSet(t, netip.Addr{})
	telling, taken := make(chan struct{}), make(chan struct{})
	r := newFollower(t, rules, two.String(), func(wire.Moved) error {
		close(telling)
		<-taken
		return nil
	})

	followed := make(chan error, 1)
	go func() {
		_, err := r.refreshAddresses(context.Background())
		followed <- err
	}()
	<-telling
	if err := r.stopRedirecting(); err != nil || len(made.attached) != 0 {
		t.Errorf("stopRedirecting = %v, left %v", err, made.attached)
	}

	close(taken)
	if err := <-followed; err != nil {
		t.Errorf("refreshAddresses = %v", err)
	}
}

// TestMovedIsToldOnce looks a name up again and again, of whose addresses one cannot be had.
func TestMovedIsToldOnce(t *testing.T) {
	for _, refuse := range []netip.Addr{{}, two} {
		rules, _ := newTestRuleSet(t, refuse)
		var told []wire.Moved
		r := newFollower(t, rules, two.String(), func(m wire.Moved) error {
			told = append(told, m)
			return nil
		})

		for range 3 {
			if _, err := r.refreshAddresses(t.Context()); (err != nil) != (refuse == two) {
				t.Errorf("refreshAddresses = %v", err)
			}
		}
		if want := []wire.Moved{{ID: 1, Addresses: []netip.Addr{one, two}}}; !reflect.DeepEqual(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	}
}

// TestNothingIsForgotten keeps every address of a name that leads to one in turn, tells of each
// once, and says when there is no room for more.
func TestNothingIsForgotten(t *testing.T) {
	rules, made := newTestRuleSet(t, netip.Addr{})
	var told []wire.Moved
	r := newFollower(t, rules, "db", func(m wire.Moved) error {
		told = append(told, m)
		return nil
	})
	next := 0
	r.resolve = func(context.Context, string) ([]netip.Addr, time.Duration, error) {
		address := netip.AddrFrom4([4]byte{10, 0, byte(next / 256), byte(next % 256)})
		next++
		return []netip.Addr{address}, time.Second, nil
	}

	for range 2 {
		next = 1 // the first is known
		for range maxDestinations + 10 {
			if _, err := r.refreshAddresses(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}

	last := told[len(told)-1]
	if len(told) != maxDestinations || !last.Full || told[len(told)-2].Full || len(last.Addresses) != maxDestinations {
		t.Errorf("told %d times, at last %d addresses, full: %t, want %d, %d and true", len(told), len(last.Addresses), last.Full, maxDestinations, maxDestinations)
	}
	if len(made.attached) != maxDestinations || len(r.rules) != maxDestinations {
		t.Errorf("%d rules, of which the kernel has %d, want %d", len(r.rules), len(made.attached), maxDestinations)
	}
}

// TestFollowAfter looks a name up as often as its answers expire, within bounds.
func TestFollowAfter(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		unknownTTL: 10 * time.Second, 0: time.Second, time.Second: time.Second, 5 * time.Second: 5 * time.Second, time.Hour: 10 * time.Second,
	} {
		if got := followAfter(ttl); got != want {
			t.Errorf("followAfter(%v) = %v, want %v", ttl, got, want)
		}
	}
}
