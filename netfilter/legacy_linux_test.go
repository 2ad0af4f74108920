package netfilter

import (
	"slices"
	"testing"

	"kdiag/netfilter/netnstest"

	"github.com/google/nftables"
)

func TestLegacyChains(t *testing.T) {
	for program, family := range map[string]nftables.TableFamily{
		"iptables-legacy": nftables.TableFamilyIPv4, "ip6tables-legacy": nftables.TableFamilyIPv6,
	} {
		t.Run(program, func(t *testing.T) {
			needTools(t, [][]string{{program}})
			ns := netnstest.New(t)
			ns.Enter(t)
			l := legacyOf(family)
			if got, err := l.chains(); err != nil || got != nil {
				t.Errorf("chains() without a table = %q, %v, want none", got, err)
			}
			if there, err := l.hasNAT(); err != nil || there {
				t.Errorf("hasNAT() after chains() = %v, %v, want that asking made none", there, err)
			}

			want := []string{"ISTIO_INBOUND", "KDIAG-abcdefghijkl-OUT"}
			for _, chain := range want {
				ns.Run(t, program, "-t", "nat", "-N", chain)
				ns.Run(t, program, "-t", "nat", "-A", chain, "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "81")
			}

			if got, err := l.chains(); err != nil || !slices.Equal(got, want) {
				t.Errorf("chains() = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func FuzzLegacyChains(f *testing.F) {
	f.Add(make([]byte, 300))
	f.Fuzz(func(_ *testing.T, entries []byte) {
		legacyOf(nftables.TableFamilyIPv4).chainNames(entries)
		legacyOf(nftables.TableFamilyIPv6).chainNames(entries)
	})
}
