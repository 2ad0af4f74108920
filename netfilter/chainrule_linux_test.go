package netfilter

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                      nil,
		"  a  b ":               {"a", "b"},
		`-A X --comment "a b"`:  {"-A", "X", "--comment", "a b"},
		`"" x`:                  {"", "x"},
		`"it\'s \"me\" \\o/" x`: {`it's "me" \o/`, "x"},
	} {
		if got, ok := splitWords(line); !ok || !slices.Equal(got, want) {
			t.Errorf("splitWords(%q) = %q, %v, want %q", line, got, ok, want)
		}
	}

	for _, line := range []string{`"`, `a "b`, `"a\"`} {
		if got, ok := splitWords(line); ok {
			t.Errorf("splitWords(%q) = %q, want that the quote is open", line, got)
		}
	}
}

func TestParseRedirect(t *testing.T) {
	for line, want := range map[string]Redirect{
		`-A KDIAG-a1-IN -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m comment --comment "a b" -j REDIRECT --to-ports 15001`: {
			Direction: Incoming, Port: 80, Listener: 15001, Holder: "a b",
		},
		"-A KDIAG-a1-OUT -d 10.0.0.1/32 -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 9": {
			Direction: Outgoing, Port: 53, Listener: 9, Address: netip.MustParseAddr("10.0.0.1"),
		},
		"-A KDIAG-a1-OUT -d ::2/128 -p tcp -m tcp --dport 53 -m comment --comment \x1b[2J -j REDIRECT --to-ports 9": {
			Direction: Outgoing, Port: 53, Listener: 9, Address: netip.MustParseAddr("::2"), Holder: "?[2J",
		},
		"-A KDIAG-a1-IN -p tcp -m tcp --dport 80 -j DNAT --to-destination :15001": {
			Direction: Incoming, Port: 80, Listener: 15001,
		},
	} {
		r, _ := parseRule(line)
		if got, ok := r.parseRedirect(); !ok || got != want {
			t.Errorf("parseRedirect of %q = %+v, %v, want %+v", line, got, ok, want)
		}
	}

	for _, line := range []string{
		"", "-A", "-N KDIAG-a1-IN", "-A KDIAG-a1-IN", "-A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 9",
		"-A KDIAG-a1-IN --dport 80", "-A KDIAG-a1-IN --to-ports 80 --dport", "-A KDIAG-a1-IN --dport 80:90 --to-ports 9",
		"-A KDIAG-a1-IN --dport 65536 --to-ports 9", "-A KDIAG-a1-IN --dport 80 -j DNAT --to-destination 10.0.0.1:9", "-A KDIAG-a1-OUT -d 10.0.0.0/8 --dport 80 --to-ports 9",
	} {
		r, _ := parseRule(line)
		if got, ok := r.parseRedirect(); ok {
			t.Errorf("parseRedirect of %q = %+v, want none", line, got)
		}
	}
}

func TestParseChainName(t *testing.T) {
	for _, d := range []Direction{Incoming, Outgoing} {
		name := map[Direction]string{Incoming: incomingChain("abcdefghi012"), Outgoing: outgoingChain("abcdefghi012")}[d]
		if id, got, ok := parseChainName(name); !ok || id != "abcdefghi012" || got != d || len(name) > 28 {
			t.Errorf("parseChainName(%q) = %q, %v, %v, want abcdefghi012 and %v, in 28 bytes", name, id, got, ok, d)
		}
	}

	for _, name := range []string{"", "KDIAG-", "KDIAG-a", "KDIAG-a-", "KDIAG-a-X", "KDIAG--IN", "KDIAG-A-IN", "KDIAG-a-b-IN", "OUTPUT"} {
		if id, d, ok := parseChainName(name); ok {
			t.Errorf("parseChainName(%q) = %q, %v, want none", name, id, d)
		}
	}
}

// FuzzRule checks that every holder read from a line is one that Attach accepts.
func FuzzRule(f *testing.F) {
	f.Add(`-A KDIAG-a1-IN -p tcp --dport 80 -m comment --comment "a \"b" -j REDIRECT --to-ports 15001`)
	f.Add("-N KDIAG-a1-OUT")
	f.Add(`-A KDIAG-a1-OUT -d ::2/128 --dport 1 --comment "\\`)
	f.Fuzz(func(t *testing.T, line string) {
		r, ok := parseRule(line)
		if !ok {
			return
		}

		redirect, ok := r.parseRedirect()
		if !ok {
			return
		}
		if len(redirect.Holder) > MaxHolder || sanitizeComment(redirect.Holder) != redirect.Holder || strings.Contains(redirect.Holder, "\n") {
			t.Errorf("parseRedirect of %q has holder %q", line, redirect.Holder)
		}
	})
}
