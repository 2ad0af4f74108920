package connectionowners

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/mux/wire"
)

func flowOf(protocol Protocol, source, destination string) Flow {
	return Flow{protocol, netip.MustParseAddrPort(source), netip.MustParseAddrPort(destination)}
}

// sample is a snapshot of a server with a fork, a client, and a name server.
func sample() wire.Snapshot {
	return wire.Snapshot{
		Processes: []wire.Process{{PID: 1, Name: "nginx"}, {PID: 7, Name: "curl\x1b"}, {PID: 9, Name: "nginx"}, {PID: 11, Name: "dns"}},
		Sockets: []wire.Socket{
			{Protocol: "tcp", State: "LISTEN", Local: "0.0.0.0:80", PIDs: []int{9, 1}},
			{Protocol: "tcp6", State: "LISTEN", Local: "[::]:81", PIDs: []int{1}},
			{Protocol: "tcp", State: "LISTEN", Local: "127.0.0.1:82", PIDs: []int{1}},
			{Protocol: "tcp6", State: "ESTABLISHED", Local: "[::ffff:10.0.0.1]:80", Remote: "[::ffff:10.0.0.9]:4000", PIDs: []int{9}},
			{Protocol: "tcp", State: "ESTABLISHED", Local: "10.0.0.1:5000", Remote: "10.0.0.8:80", PIDs: []int{7}},
			{Protocol: "tcp", State: "ESTABLISHED", Local: "127.0.0.1:6000", Remote: "127.0.0.1:82", PIDs: []int{7}},
			{Protocol: "udp", State: "UNCONN", Local: "0.0.0.0:53", PIDs: []int{11}},
			{Protocol: "tcp", State: "ESTABLISHED", Local: "10.0.0.1:7000", Remote: "10.0.0.8:80"},
			{Protocol: "unix", State: "LISTEN", Local: "/run/x:80", PIDs: []int{11}},
			{Protocol: "tcp", State: "ESTABLISHED", Local: "nonsense", Remote: "10.0.0.8:80", PIDs: []int{7}},
		},
	}
}

// TestComments checks whose each packet is said to be.
func TestComments(t *testing.T) {
	table := New("shop/web-0", "app")
	table.Update(sample())
	const of = "pod shop/web-0, container app, "

	for _, c := range []struct {
		flow Flow
		side Side
		want string
	}{
		{flowOf(TCP, "10.0.0.9:4000", "10.0.0.1:80"), Destination, of + "process nginx (PID 9)"},
		{flowOf(TCP, "10.0.0.1:80", "10.0.0.9:4000"), Source, of + "process nginx (PID 9)"},
		{flowOf(TCP, "10.0.0.9:4001", "10.0.0.1:80"), Destination, of + "process nginx (PID 1)"},
		{flowOf(TCP, "10.0.0.9:4001", "10.0.0.1:81"), Destination, of + "process nginx (PID 1)"},
		{flowOf(TCP, "[fd00::9]:4001", "[fd00::1]:81"), Destination, of + "process nginx (PID 1)"},
		{flowOf(TCP, "10.0.0.1:5000", "10.0.0.8:80"), Source, of + "process curl\ufffd (PID 7)"},
		{flowOf(TCP, "10.0.0.8:80", "10.0.0.1:5000"), Destination, of + "process curl\ufffd (PID 7)"},
		{flowOf(TCP, "127.0.0.1:6000", "127.0.0.1:82"), Destination, of + "from process curl\ufffd (PID 7) to process nginx (PID 1)"},
		{flowOf(TCP, "10.0.0.1:9000", "10.0.0.1:80"), Destination, of + "process nginx (PID 1)"},
		{flowOf(UDP, "10.0.0.9:4000", "10.0.0.1:53"), Destination, of + "process dns (PID 11)"},
		{flowOf(UDP, "10.0.0.1:53", "10.0.0.9:4000"), Source, of + "process dns (PID 11)"},
		// The pod has a server at port 80, and so does somebody else.
		{flowOf(TCP, "10.0.0.1:5001", "10.0.0.8:80"), Source, ""},
		{flowOf(TCP, "10.0.0.9:4001", "10.0.0.1:80"), Neither, ""},
		{flowOf(TCP, "10.0.0.1:7000", "10.0.0.8:80"), Source, ""},
		{flowOf(TCP, "10.0.0.9:4000", "10.0.0.1:82"), Destination, ""},
		{flowOf(UDP, "10.0.0.9:4000", "10.0.0.1:80"), Destination, ""},
	} {
		for range 2 { // the second one is from the cache
			if got := table.Comment(c.flow, c.side); got != c.want {
				t.Errorf("comment on %v, side %d = %q, want %q", c.flow, c.side, got, c.want)
			}
		}
	}
}

// TestPastConnection checks that the end of a connection still has an owner, and that a listener
// that is gone has none.
func TestPastConnection(t *testing.T) {
	table := New("shop/web-0", "app")
	client, caller := flowOf(TCP, "10.0.0.1:5000", "10.0.0.8:80"), flowOf(TCP, "10.0.0.9:4001", "10.0.0.1:80")
	if got := table.Comment(client, Source); got != "" {
		t.Errorf("comment before the first snapshot = %q", got)
	}

	table.Update(sample())
	if table.Comment(client, Source) == "" || table.Comment(caller, Destination) == "" {
		t.Error("no comment after the first snapshot")
	}

	table.Update(wire.Snapshot{})
	if got := table.Comment(client, Source); got == "" {
		t.Error("no comment on the end of a connection")
	}
	if got := table.Comment(caller, Destination); got != "" {
		t.Errorf("comment of a listener that is gone = %q", got)
	}
}

// TestTableIsBounded gives a table more connections than it keeps, and asks for more flows.
func TestTableIsBounded(t *testing.T) {
	table := New("shop/web-0", "app")
	taken := wire.Snapshot{Processes: []wire.Process{{PID: 1, Name: "many"}}}
	for port := range 40000 {
		local := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(port+1))
		taken.Sockets = append(taken.Sockets, wire.Socket{Protocol: "tcp", State: "ESTABLISHED", Local: local.String(), Remote: "10.0.0.2:80", PIDs: []int{1}})
	}

	for _, remote := range []string{"10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"} {
		for i := range taken.Sockets {
			taken.Sockets[i].Remote = remote
		}
		table.Update(taken)
	}
	if len(table.connected) > maxConnected {
		t.Errorf("%d connections are kept", len(table.connected))
	}

	for port := range 2 * maxComments {
		flow := Flow{TCP, netip.AddrPortFrom(netip.IPv6Loopback(), uint16(port)), netip.AddrPort{}}
		table.Comment(flow, Source)
	}
	if len(table.comments) > maxComments {
		t.Errorf("%d comments are kept", len(table.comments))
	}

	taken.Sockets = slices.Repeat(taken.Sockets, 3)
	table.Update(taken)
	if len(table.connected) > maxConnected {
		t.Errorf("%d connections of one snapshot are kept", len(table.connected))
	}
}

// TestTableIsShared updates a table while packets are commented.
func TestTableIsShared(*testing.T) {
	table := New("shop/web-0", "app")
	var all sync.WaitGroup
	all.Go(func() {
		for range 100 {
			table.Update(sample())
		}
	})
	for range 1000 {
		table.Comment(flowOf(TCP, "10.0.0.9:4000", "10.0.0.1:80"), Destination)
	}
	all.Wait()
}

// TestFlows checks what is read from packets, and that what is cut has no flow.
func TestFlows(t *testing.T) {
	ip4 := []byte{0x46, 0, 0, 32, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1, 0x0f, 0xa0, 0, 80}
	ip6 := slices.Concat([]byte{0x60, 0, 0, 0, 0, 4, 17, 64}, netip.MustParseAddr("fd00::1").AsSlice(), netip.MustParseAddr("fd00::2").AsSlice(), []byte{0x0f, 0xa0, 0, 53})
	frame := func(kind byte, packet []byte) []byte {
		return slices.Concat(make([]byte, 12), []byte{kind, 0}, packet)
	}
	frame6 := slices.Concat(make([]byte, 12), []byte{0x86, 0xdd}, ip6)

	for _, c := range []struct {
		link uint16
		data []byte
		want Flow
	}{
		{pcapng.LinkTypeEthernet, frame(8, ip4), flowOf(TCP, "10.0.0.1:4000", "10.0.0.2:80")},
		{pcapng.LinkTypeEthernet, frame6, flowOf(UDP, "[fd00::1]:4000", "[fd00::2]:53")},
		{pcapng.LinkTypeRaw, ip4, flowOf(TCP, "10.0.0.1:4000", "10.0.0.2:80")},
	} {
		if got, ok := FindFlow(c.link, c.data); !ok || got != c.want {
			t.Errorf("FindFlow(%x) = %v, %v, want %v", c.data, got, ok, c.want)
		}
		for cut := range c.data {
			if got, ok := FindFlow(c.link, c.data[:cut]); ok {
				t.Errorf("FindFlow of %d bytes = %v", cut, got)
			}
		}
	}

	fragment, icmp := slices.Clone(ip4), slices.Clone(ip4)
	fragment[7], icmp[9] = 1, 1
	for name, data := range map[string][]byte{"ARP": frame(9, ip4), "fragment": frame(8, fragment), "ICMP": frame(8, icmp)} {
		if got, ok := FindFlow(pcapng.LinkTypeEthernet, data); ok {
			t.Errorf("FindFlow of %s = %v", name, got)
		}
	}
}

// TestLongNames checks that a comment is one line, whatever a process calls itself.
func TestLongNames(t *testing.T) {
	table := New("shop/web-0", "a\nb")
	taken := sample()
	taken.Processes[0].Name = "two\nlines"
	table.Update(taken)
	if got := table.Comment(flowOf(TCP, "10.0.0.9:4001", "10.0.0.1:80"), Destination); strings.Contains(got, "\n") || got == "" {
		t.Errorf("comment = %q, want one line", got)
	}
}

func BenchmarkComment(b *testing.B) {
	table := New("shop/web-0", "app")
	table.Update(sample())
	flow := flowOf(TCP, "10.0.0.9:4000", "10.0.0.1:80")
	for b.Loop() {
		table.Comment(flow, Destination)
	}
}
