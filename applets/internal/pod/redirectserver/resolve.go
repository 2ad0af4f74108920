package redirectserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"kdiag/netfilter"
)

// readNameServers reads the nameserver lines of a resolv.conf(5). Without such a file there are
// none.
func readNameServers(file string) []netip.Addr {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()

	var servers []netip.Addr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if server, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, server.WithZone(""))
		}
	}

	return servers
}

// newResolver makes a resolver that asks as the pod does, by its resolv.conf, over connections
// that no redirect takes.
func newResolver() *net.Resolver {
	dialer := &net.Dialer{Control: netfilter.ControlMark(Mark)}
	return &net.Resolver{PreferGo: true, Dial: dialer.DialContext}
}

// resolveHost returns the addresses that a host has in the pod's view, sorted.
func resolveHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address.Unmap()}, nil
	}

	found, err := newResolver().LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s in the pod: %w", host, err)
	}

	for i := range found {
		found[i] = found[i].Unmap()
	}

	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), nil
}
