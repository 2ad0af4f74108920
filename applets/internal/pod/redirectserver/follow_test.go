package redirectserver

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"testing"

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
		rules: outgoingRules(one), addresses: []netip.Addr{one}, tellMoved: tell,
		stop: func() {}, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
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
	go func() { followed <- r.refreshAddresses(context.Background()) }()
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
			if err := r.refreshAddresses(t.Context()); (err != nil) != (refuse == two) {
				t.Errorf("refreshAddresses = %v", err)
			}
		}
		if want := []wire.Moved{{ID: 1, Addresses: []netip.Addr{two}}}; !reflect.DeepEqual(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	}
}
