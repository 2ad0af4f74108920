package netfilter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
)

// Mesh names the service mesh that redirects the connections of the thread's
// network namespace to its sidecar: "istio", "linkerd", "kuma", or "" for none.
// It goes by the names of chains: of all tables of nf_tables, where iptables-nft
// puts its own too, and of the legacy nat tables. No iptables program is needed.
// An error says what could not be read when nothing was found in the rest.
func Mesh() (name string, err error) {
	n, err := findNeighbours()
	if err != nil {
		return "", err
	}

	chains, err := n.chains()
	err = errors.Join(err, n.close())
	for _, chain := range chains {
		if name := meshOf(chain); name != "" {
			return name, nil
		}
	}

	return "", err
}

func meshOf(chain string) string {
	for _, mesh := range []struct{ prefix, name string }{
		{"ISTIO_", "istio"}, {"PROXY_INIT_", "linkerd"}, {"KUMA_MESH_", "kuma"},
	} {
		if strings.HasPrefix(chain, mesh.prefix) {
			return mesh.name
		}
	}
	return ""
}

// chains are the names of all chains, those of iptables-nft by netlink.
func (n *neighbours) chains() ([]string, error) {
	out, failed := n.nftChains(func(*nftables.Chain) bool { return true })
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		names, err := legacyOf(family).chains()
		failed = errors.Join(failed, err)
		out = append(out, names...)
	}
	return out, failed
}

// nftChains are the names of some chains of nf_tables.
func (n *neighbours) nftChains(want func(*nftables.Chain) bool) ([]string, error) {
	if n.nft == nil {
		return nil, nil
	}

	var chains []*nftables.Chain
	err := n.nft.within(func() (err error) {
		chains, err = n.nft.ListChains()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}

	var out []string
	for _, c := range chains {
		if want(c) {
			out = append(out, c.Name)
		}
	}

	return out, nil
}
