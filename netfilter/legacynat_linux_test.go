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
			l := legacyNATOf(family)
			if got, err := l.listChains(); err != nil || got != nil {
				t.Errorf("listChains() without a table = %q, %v, want none", got, err)
			}
			if there, err := l.exists(); err != nil || there {
				t.Errorf("exists() after listChains() = %v, %v, want that asking made none", there, err)
			}

			want := []string{"ISTIO_INBOUND", "KDIAG-abcdefghijkl-OUT"}
			for _, chain := range want {
				ns.Run(t, program, "-t", "nat", "-N", chain)
				ns.Run(t, program, "-t", "nat", "-A", chain, "-p", "tcp", "--dport", "80", "-j", "REDIRECT", "--to-ports", "81")
			}

			if got, err := l.listChains(); err != nil || !slices.Equal(got, want) {
				t.Errorf("listChains() = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func FuzzLegacyChains(f *testing.F) {
	f.Add(make([]byte, 300))
	f.Fuzz(func(_ *testing.T, entries []byte) {
		legacyNATOf(nftables.TableFamilyIPv4).parseChainNames(entries)
		legacyNATOf(nftables.TableFamilyIPv6).parseChainNames(entries)
	})
}
