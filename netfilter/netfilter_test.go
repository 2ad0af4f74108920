package netfilter

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidateRedirect(t *testing.T) {
	any4, lo := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")

	for _, test := range []struct {
		r    Redirect
		good bool
	}{
		{Redirect{Direction: Incoming, Port: 80, Listener: 9, Holder: "alice's \"laptop\" ~"}, true},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 80, Address: any4}, true},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Holder: strings.Repeat("x", 64)}, true},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Holder: strings.Repeat("x", 65)}, false},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Holder: "a\nb"}, false},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Holder: "é"}, false},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Address: lo}, false},
		{Redirect{Direction: Outgoing, Port: 80, Listener: 9, Address: netip.MustParseAddr("fe80::1%eth0")}, false},
		{Redirect{Direction: Incoming, Port: 80, Listener: 9, Address: any4}, false},
		{Redirect{Direction: Incoming, Port: 80, Listener: 80}, false},
		{Redirect{Direction: Incoming, Listener: 80}, false},
		{Redirect{Direction: Incoming, Port: 80}, false},
		{Redirect{Port: 80, Listener: 9}, false},
	} {
		if err := test.r.validate(); (err == nil) != test.good {
			t.Errorf("validate(%+v) = %v, want good %v", test.r, err, test.good)
		}
	}
}

func TestHeldError(t *testing.T) {
	for _, test := range []struct {
		address string
		want    string
	}{
		{"", `redirect outgoing port 53: held by "alice"`},
		{"192.0.2.1", `redirect outgoing 192.0.2.1:53: held by "alice"`},
	} {
		r := Redirect{Direction: Outgoing, Port: 53}
		if test.address != "" {
			r.Address = netip.MustParseAddr(test.address)
		}
		if got := (&HeldError{Redirect: r, Holder: "alice"}).Error(); got != test.want {
			t.Errorf("HeldError = %q, want %q", got, test.want)
		}
	}
}
