package packetfilter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/testenv"
	"kdiag/mux/wire"

	"golang.org/x/net/bpf"
)

// sameAsTcpdump lists filters that take the same packets as tcpdump's.
var sameAsTcpdump = []string{
	"", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "esp", "ah", "pim", "vrrp", "igrp",
	"host 10.0.0.1", "src 10.0.0.1", "dst host 10.0.0.1", "src or dst host 10.0.0.2", "src and dst host 10.0.0.1",
	"ip host 10.0.0.1", "arp host 10.0.0.1", "rarp host 10.0.0.1", "host fd00::1", "src host fd00::1", "ip6 host fd00::1", "dst fd00:0:0:1::2",
	"net 10.0.0.0/8", "net 10", "net 10.0", "net 192.168.7", "net 10.0.0.0 mask 255.255.255.252", "src net 192.168.0.0/16", "dst net 10.0.0.0/30",
	"net 0.0.0.0/0", "net fd00::/16", "src net fd00:0:0:1::/64", "net ::/0", "ip net 10.0.0.0/8", "arp net 10", "net fd00::1/128",
	"port 80", "src port 80", "dst port 80", "tcp port 80", "udp port 53", "sctp port 80", "tcp dst port 80", "src or dst port 443", "src and dst port 5353",
	"portrange 8080-8081", "tcp portrange 443-8080", "udp src portrange 53-80", "dst portrange 8082-8079", "portrange 80", "port domain", "port http or https",
	"ether host 02:42:0a:00:00:01", "ether src 02:42:0a:00:00:02", "ether dst ff:ff:ff:ff:ff:ff", "ether broadcast", "broadcast", "ether multicast",
	"multicast", "ip multicast", "ip6 multicast", "ether proto 0x88cc", `ether proto \ip`, `ether proto \arp`, "ether proto 0x0806",
	"ip proto 6", `ip proto \tcp`, `ip proto \udp`, "ip6 proto 17", "proto 17", `proto \icmp`, "ip proto 17 or 6",
	"less 60", "greater 100", "len > 100", "len = 42", "len <= 60", "not less 60",
	"not port 80", "! tcp", "not not tcp", "tcp and not port 80", "tcp && ! port 80", "tcp or udp and port 53", "port 53 and tcp or udp",
	"tcp and (port 80 or port 443)", "port (80 or 443)", "tcp port 80 or 443", "host 10.0.0.1 or 10.0.0.2", "not host 10.0.0.1 and 10.0.0.2",
	"src host 10.0.0.1 and dst port 80", "host (10.0.0.1 and 10.0.0.2)", "tcp port (80 or 8080) and host 10.0.0.1", "(tcp)", "((tcp) and (port 80))",
	"tcp[tcpflags] & (tcp-syn) != 0", "tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn", "tcp[13] = 2", "tcp[13] == 0x12", "tcp[0:2] = 80",
	"tcp[tcpflags] & tcp-syn != 0 and not port 443", "tcp[tcpflags] & (tcp-ece|tcp-cwr) != 0", "ip[0] & 0xf != 5", "ip[0] & 15 > 5", "ip[2:2] > 60",
	"ip[6:2] & 0x1fff = 0", "ip[6:2] & 0x1fff != 0", "ip[8] = 64", "ip[12:4] = 0x0a000001", "ether[0] & 1 != 0", "ether[12:2] = 0x800", "ether[6:4] = 0x02420a00",
	"icmp[icmptype] = icmp-echo", "icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply", "icmp[0] = 3", "icmp6[icmp6type] = icmp6-echo", "icmp6[0] = 128",
	"ip6[6] = 6", "ip6[40] = 17", "udp[4:2] > 20", "udp[0:2] + 1 = udp[2:2]", "tcp[((tcp[12] & 0xf0) >> 2)] = 100", "tcp[12] >> 4 = 5", "arp[6:2] = 1",
	"ip[9] * 2 = 12", "ip[9] - 5 = 1", "ip[9] + 1 = 7", "ip[9] / 2 = 3", "ip[9] % 5 = 1", "ip[9] ^ 6 = 0", "ip[9] << 2 = 24", "5 < ip[9]", "2 + 3 * 4 = 14 and tcp", "(2 + 3) * 4 = 20",
	"-1 = 0xffffffff", "ip[9] = ip[8] - 58", "len - 14 = ip[2:2]", "ip[ip[9]] = 0", "tcp[100] = 0 or udp", "udp or tcp[100] = 0", "not tcp[13] = 2", "not (tcp or udp) and ip",
	"tcp src port 80", "udp dst port 53 and src host 192.168.7.9", "ip and not tcp and not udp", "icmp or arp or rarp", "tcp[13] & 2 = 2 and (src port 80 or dst port 80)",
	"ip[9] | 1 & 6 = 7", "ip[9] ^ 3 & 2 = 6", "ip[9] ^ 3 + 2 = 3", "ip[9] % 4 * 2 = 4", "ip[9] * 3 % 4 = 2", "ip[9] + 3 % 2 = 7", "ip[9] | 3 ^ 2 = 5",
	"ip[9] ^ 3 | 2 = 7", "ip[9] & -2 = 16", "ip[9] << 1 + 1 = 24", "ip[9] - 1 - 2 = 3", "ip[9] | 4 & 3 = 2", "ip[9] | 4 & 3 = 6",
	"host 10", "host 10.0", "net 0", "net 256", "net 2560", "host 167772161", "src host 0x0a000001", "net 0x0a000000", "ip host 10", "net 167772161", "arp host 10",
	"port 80 or tcp[13] = 0x18", "ip or 6 = ip[9]", "src port 53 or 80 and not udp",
}

// wrongLikeTcpdump lists filters that tcpdump refuses, too.
var wrongLikeTcpdump = []string{
	"tcp prot 80", "port", "port 70000", "port 80 80", "(tcp", "tcp)", "and tcp", "tcp and", "not", "host", "host 10.0.0.1/8", "10.0.0.0/8", "net 10.0.0.1/8",
	"net 10.0.0.0/33", "portrange", "tcp[", "tcp[13", "tcp[13]", "tcp[13:3] = 1", "ip[0] =", "= 5", "tcp host 10.0.0.1", "ether host 10.0.0.1", "arp port 80",
	"host 02:42:0a:00:00:01", "ip[0] / 0 = 1", "less", "less x", "tcp[13] & = 2", "host 300.1.1.1.1", "net fd00::1/16", "ip6 host 10.0.0.1", "()", "tcp ( udp )", "port 80 and or 81", "#", "tcp[0] <> 1",
	"net 10/8", "net 10 mask 255.0.0.0", "host 010x", "net 1000000000000",
}

// TestSameAsTcpdump compares which packets a filter takes with tcpdump.
func TestSameAsTcpdump(t *testing.T) {
	compare := newComparison(t)
	for _, expression := range sameAsTcpdump {
		compare.verify(t, expression)
	}
}

// TestRandomSameAsTcpdump does the same with filters that are put together by chance.
func TestRandomSameAsTcpdump(t *testing.T) {
	compare := newComparison(t)
	// Which loads beyond the end of a packet end a filter depends on the order of its parts, which
	// tcpdump's optimizer changes.
	compare.flags = []string{"-O"}
	compare.drop(func(frame []byte) bool { return len(frame) < 60 && binary.BigEndian.Uint16(frame[12:]) == typeIP4 })
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		compare.verify(t, randomFilter(random, 3))
	}
}

// randomFilter joins filters of the list.
func randomFilter(random *rand.Rand, depth int) string {
	if depth == 0 || random.IntN(4) == 0 {
		return sameAsTcpdump[1+random.IntN(len(sameAsTcpdump)-1)]
	}

	a, b := randomFilter(random, depth-1), randomFilter(random, depth-1)
	switch random.IntN(4) {
	case 0:
		return "not (" + a + ")"
	case 1:
		return "(" + a + ") or (" + b + ")"
	case 2:
		return a + " and " + b
	}
	return "(" + a + ") and not (" + b + ")"
}

// TestWrongLikeTcpdump checks that what tcpdump refuses is refused, with the place.
func TestWrongLikeTcpdump(t *testing.T) {
	compare := newComparison(t)
	for _, expression := range wrongLikeTcpdump {
		if _, err := compare.runTcpdump(expression); err == nil {
			t.Errorf("tcpdump takes %q", expression)
		}
		if program, err := Compile(expression, wire.LinkEthernet, 100); err == nil {
			t.Errorf("Compile(%q) = %d instructions, want an error", expression, len(program))
		}
	}
}

// comparison has the packets that filters are tried on.
type comparison struct {
	frames [][]byte
	file   []byte // the same as a pcap file
	flags  []string
}

func newComparison(t *testing.T) comparison {
	t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		testenv.Missing(t, "tcpdump: %v", err)
	}

	c := comparison{frames: corpus()}
	c.drop(func([]byte) bool { return false })
	return c
}

// drop leaves frames out.
func (c *comparison) drop(unwanted func([]byte) bool) {
	c.frames = slices.DeleteFunc(c.frames, unwanted)
	c.file = binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	c.file = append(c.file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for n, frame := range c.frames {
		for _, field := range []int{n, 0, len(frame), len(frame)} {
			c.file = binary.LittleEndian.AppendUint32(c.file, uint32(field))
		}
		c.file = append(c.file, frame...)
	}
}

// runTcpdump returns the numbers of the packets that tcpdump takes.
func (c comparison) runTcpdump(expression string) ([]int, error) {
	tcpdump := exec.Command("tcpdump", slices.Concat(c.flags, []string{"-r", "-", "-w", "-", "-Z", "root", "--", expression})...)
	var stderr bytes.Buffer
	tcpdump.Stdin, tcpdump.Stderr = bytes.NewReader(c.file), &stderr
	out, err := tcpdump.Output()
	if strings.Contains(stderr.String(), "expression rejects all packets") {
		return []int{}, nil
	}
	if err != nil || len(out) < 24 {
		return nil, fmt.Errorf("tcpdump %q: %w: %s", expression, err, &stderr)
	}

	taken := []int{}
	for rest := out[24:]; len(rest) >= 16; {
		taken = append(taken, int(binary.LittleEndian.Uint32(rest)))
		rest = rest[16+binary.LittleEndian.Uint32(rest[8:]):]
	}
	return taken, nil
}

// verify compares one filter.
func (c comparison) verify(t *testing.T, expression string) {
	t.Helper()
	want, err := c.runTcpdump(expression)
	if err != nil {
		t.Error(err)
		return
	}

	program, err := Compile(expression, wire.LinkEthernet, 1000)
	if err != nil {
		t.Error(err)
		return
	}
	got := []int{}
	for n, frame := range c.frames {
		if runFilter(t, program, frame) {
			got = append(got, n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("filter %q takes %v, tcpdump %v", expression, got, want)
	}
}

// runFilter runs a program as the kernel does.
func runFilter(t *testing.T, program []wire.FilterInstruction, frame []byte) bool {
	t.Helper()
	var list []bpf.Instruction
	for _, each := range program {
		list = append(list, bpf.RawInstruction{Op: each.Op, Jt: each.Jt, Jf: each.Jf, K: each.K}.Disassemble())
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatalf("load a program of %d instructions: %v", len(list), err)
	}
	length, err := vm.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return length > 0
}

// TestLongFilters checks jumps over more than 255 instructions, and the kernel's limit.
func TestLongFilters(t *testing.T) {
	compare := newComparison(t)
	var hosts []string
	for n := range 100 {
		hosts = append(hosts, fmt.Sprintf("host 172.16.0.%d", n))
	}
	many := strings.Join(hosts, " or ")
	compare.verify(t, many+" or host 10.0.0.1")
	compare.verify(t, "not ("+many+") and host 10.0.0.1")

	if _, err := Compile(strings.Repeat(many+" or ", 5)+"tcp", wire.LinkEthernet, 100); err == nil || !strings.Contains(err.Error(), "the kernel takes 4096") {
		t.Errorf("a filter of 500 hosts: %v", err)
	}
}

// TestPlaceIsMarked checks that an error marks the place.
func TestPlaceIsMarked(t *testing.T) {
	for expression, want := range map[string]string{
		"tcp prot 80":       `filter "tcp >>prot<< 80": `,
		"port 80 and":       `filter "port 80 and>><<": the filter ends too early`,
		"host web.shop.svc": `filter "host >>web.shop.svc<<": expected a keyword or an address here; kdiag looks up no names of hosts`,
		"vlan 5":            `filter ">>vlan<< 5": kdiag does not look into tags and tunnels`,
		"tcp[13:3] = 1":     `filter "tcp[13:>>3<<] = 1": a field has 1, 2 or 4 bytes`,
		"tcp # x":           `filter "tcp >>#<< x": this means nothing here`,
		"port 80 or 99999":  `filter "port 80 or >>99999<<": expected a port here: 0 to 65535, or a known name`,
	} {
		if _, err := Compile(expression, wire.LinkEthernet, 100); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Compile(%q) = %v, want %s", expression, err, want)
		}
	}
}

// TestRawIP checks filters on interfaces without an Ethernet header.
func TestRawIP(t *testing.T) {
	tcp4 := stack("", ip4(hostA, hostB, protoTCP, 1, 0), tcp(1, 80, 2))
	udp6 := stack("", ip6(host6A, host6B, protoUDP), udp(1, 53))
	for expression, want := range map[string][2]bool{
		"": {true, true}, "ip": {true, false}, "ip6": {false, true}, "arp": {false, false}, "port 80": {true, false},
		"udp port 53": {false, true}, "host 10.0.0.1": {true, false}, "net fd00::/16": {false, true}, "tcp[13] = 2": {true, false},
	} {
		program, err := Compile(expression, wire.LinkRaw, 100)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := [2]bool{runFilter(t, program, tcp4), runFilter(t, program, udp6)}; got != want {
			t.Errorf("filter %q takes %v, want %v", expression, got, want)
		}
	}

	if _, err := Compile("ether broadcast", wire.LinkRaw, 100); err == nil {
		t.Error("a filter by Ethernet address was compiled for raw IP")
	}
}

// FuzzCompile checks that every filter gives a program that can be loaded, or an error.
func FuzzCompile(f *testing.F) {
	for _, expression := range slices.Concat(sameAsTcpdump, wrongLikeTcpdump) {
		f.Add(expression)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		program, err := Compile(expression, wire.LinkEthernet, 100)
		if err == nil {
			runFilter(t, program, make([]byte, 100))
		}
	})
}
