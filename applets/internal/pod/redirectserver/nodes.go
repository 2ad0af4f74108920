package redirectserver

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
)

// maxNodeAddresses bounds how many addresses a nodeSources learns.
const maxNodeAddresses = 64

// nodeSources knows the addresses that the kubelet's connections may come from.
type nodeSources struct {
	mesh bool // those of the sidecar, which passes them on, are the pod's own

	mu      sync.Mutex
	learned []netip.Addr
}

// newNodeSources knows what the laptop says of the node, and the pod's gateways.
func newNodeSources(told []netip.Addr, mesh bool) *nodeSources {
	n := &nodeSources{mesh: mesh}
	for _, address := range slices.Concat(readGateways("/proc/net/route", "/proc/net/ipv6_route"), told) {
		n.learn(address)
	}
	return n
}

// contains reports whether a connection's source may be the kubelet's. Link-local addresses never
// come from another node: some networks give them to the kubelet.
func (n *nodeSources) contains(source netip.Addr) bool {
	if source.IsLinkLocalUnicast() || n.mesh && source.IsLoopback() {
		return true
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.learned, source)
}

// learn adds an address.
func (n *nodeSources) learn(source netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	source = source.Unmap()
	if len(n.learned) < maxNodeAddresses && !slices.Contains(n.learned, source) {
		n.learned = append(n.learned, source)
	}
}

// readGateways reads the gateways from the tables of routes that proc(5) has. What cannot be read
// has none.
func readGateways(routes4, routes6 string) []netip.Addr {
	var found []netip.Addr
	for file, column := range map[string]int{routes4: 2, routes6: 4} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}

		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if words := strings.Fields(lines.Text()); len(words) > column {
				if gateway, ok := parseGateway(words[column]); ok {
					found = append(found, gateway)
				}
			}
		}
		_ = f.Close()
	}
	return found
}

// parseGateway reads an address as these tables write it: IPv4 in the machine's order of bytes.
func parseGateway(text string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return netip.Addr{}, false
	}
	if len(raw) == 4 {
		binary.NativeEndian.PutUint32(raw, binary.BigEndian.Uint32(raw))
	}

	address, ok := netip.AddrFromSlice(raw)
	return address, ok && !address.IsUnspecified()
}
