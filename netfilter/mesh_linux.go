package netfilter

import (
	"errors"
	"strings"
)

// DetectMesh names the service mesh that redirects the connections of the calling
// thread's network namespace to its proxy: "istio", "linkerd", "kuma", or "" for
// none. It knows them by the names of their chains, which it finds without an
// iptables program: in all tables of nf_tables, where iptables-nft puts its chains
// too, and in the legacy nat tables. If it could not read everything and found no
// mesh in the rest, it returns an error.
func DetectMesh() (name string, err error) {
	kernel, err := openKernelState()
	if err != nil {
		return "", err
	}

	chains, err := kernel.listChains()
	err = errors.Join(err, kernel.close())
	for _, chain := range chains {
		if name := meshOfChain(chain); name != "" {
			return name, nil
		}
	}

	return "", err
}

// meshOfChain names the mesh that creates chains with such a name. Istio's are in lower
// case where it uses nftables without iptables.
func meshOfChain(chain string) string {
	for _, mesh := range []struct{ prefix, name string }{
		{"ISTIO_", "istio"}, {"istio-", "istio"}, {"PROXY_INIT_", "linkerd"}, {"KUMA_MESH_", "kuma"},
	} {
		if strings.HasPrefix(chain, mesh.prefix) {
			return mesh.name
		}
	}
	return ""
}
