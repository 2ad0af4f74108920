package redirectclient

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// TestFindDestinations hands over what is found and what was known, and tells once what is in the
// way.
func TestFindDestinations(t *testing.T) {
	found, denied := netip.MustParseAddrPort("10.0.0.1:8080"), errors.New("not allowed")
	e := newEvents()
	c := New(Config{FindDestinations: func(context.Context, Spec) ([]netip.AddrPort, error) {
		return []netip.AddrPort{found}, denied
	}}, e)
	r := &redirect{Spec: Spec{Outgoing: true, Host: "web", Port: 80}}
	known := netip.MustParseAddr("10.0.0.2")
	r.reportStarted(e, RedirectStarted{Addresses: []netip.Addr{known}, Endpoints: []netip.AddrPort{found}})
	next[RedirectStarted](t, e)

	want := []netip.AddrPort{found, netip.AddrPortFrom(known, 80)}
	for range 2 {
		if got := c.findDestinations(t.Context(), r); !slices.Equal(got, want) || !r.knowsAll(got) {
			t.Errorf("findDestinations = %v, want %v", got, want)
		}
	}
	if p := next[Problem](t, e); !errors.Is(p.Err, denied) || len(e) != 0 {
		t.Errorf("problem %v and %d more, want it once", p.Err, len(e))
	}

	if got := c.findDestinations(t.Context(), &redirect{Spec: Spec{Outgoing: true, Port: 80}}); got != nil {
		t.Errorf("findDestinations of every host = %v, want none", got)
	}
}
