package packettext

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/integration/testenv"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	ethernet = pcapng.Interface{Name: "web-0", LinkType: pcapng.LinkTypeEthernet}
	someTime = time.Date(2026, 11, 27, 19, 35, 1, 123456789, time.UTC)
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// frame puts an Ethernet header before what it carries.
func frame(kind uint16, payload ...[]byte) []byte {
	header := binary.BigEndian.AppendUint16([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, kind)
	return join(header, join(payload...))
}

// ip4 puts a header from 10.0.0.1 to 10.0.0.2 before a payload.
func ip4(protocol byte, fragment uint16, payload ...[]byte) []byte {
	data := join(payload...)
	header := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(data)))
	binary.BigEndian.PutUint16(header[6:], fragment)
	return join(header, data)
}

// ip6 puts a header from fd00::1 to fd00::2 before a payload.
func ip6(protocol byte, payload ...[]byte) []byte {
	data := join(payload...)
	header := append([]byte{0x60, 0, 0, 0, 0, 0, protocol, 64}, netip.MustParseAddr("fd00::1").AsSlice()...)
	header = append(header, netip.MustParseAddr("fd00::2").AsSlice()...)
	binary.BigEndian.PutUint16(header[4:], uint16(len(data)))
	return join(header, data)
}

func tcp(source, destination uint16, flags byte, data string) []byte {
	header := make([]byte, 20)
	binary.BigEndian.PutUint16(header, source)
	binary.BigEndian.PutUint16(header[2:], destination)
	binary.BigEndian.PutUint32(header[4:], 4294967290)
	binary.BigEndian.PutUint32(header[8:], 2000)
	header[12], header[13], header[14] = 5<<4, flags, 0x01
	return join(header, []byte(data))
}

func udp(source, destination uint16, data []byte) []byte {
	header := make([]byte, 8)
	binary.BigEndian.PutUint16(header, source)
	binary.BigEndian.PutUint16(header[2:], destination)
	binary.BigEndian.PutUint16(header[4:], uint16(len(header)+len(data)))
	return join(header, data)
}

func name(text string) dnsmessage.Name { return dnsmessage.MustNewName(text) }

// query returns a question for a name's address.
func query(text string, kind dnsmessage.Type) dnsmessage.Message {
	return dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name(text), Type: kind, Class: dnsmessage.ClassINET}},
	}
}

// answer returns the response with some records to a question.
func answer(question dnsmessage.Message, records ...dnsmessage.ResourceBody) dnsmessage.Message {
	question.Response, question.RecursionAvailable = true, true
	for _, record := range records {
		header := dnsmessage.ResourceHeader{Name: question.Questions[0].Name, Class: dnsmessage.ClassINET}
		question.Answers = append(question.Answers, dnsmessage.Resource{Header: header, Body: record})
	}
	return question
}

func pack(message dnsmessage.Message) []byte {
	packed, err := message.Pack()
	if err != nil {
		panic(err)
	}
	return packed
}

func arp(operation byte) []byte {
	return []byte{
		0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
	}
}

func icmp6(kind, code byte, rest ...byte) []byte { return append([]byte{kind, code, 0, 0}, rest...) }

var (
	refused   = dnsmessage.Message{Header: dnsmessage.Header{ID: 1, Response: true, RCode: dnsmessage.RCodeRefused}}
	noSuch    = dnsmessage.Message{Header: dnsmessage.Header{ID: 2, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError}}
	webA      = query("web.shop.svc.cluster.local.", dnsmessage.TypeA)
	neighbour = append([]byte{0, 0, 0, 0}, netip.MustParseAddr("fd00::2").AsSlice()...)
)

// samples are frames with the line that belongs to each, without its time and interface.
// likeTcpdump tells that tcpdump prints the same for it.
var samples = []struct {
	name, want  string
	frame       []byte
	likeTcpdump bool
}{
	{"syn", "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 4294967290, win 256, length 0", frame(typeIPv4, ip4(6, 0, tcp(4000, 80, 2, ""))), true},
	{"syn ack", "IP 10.0.0.1.80 > 10.0.0.2.4000: Flags [S.], seq 4294967290, ack 2000, win 256, length 0", frame(typeIPv4, ip4(6, 0, tcp(80, 4000, 0x12, ""))), true},
	{"ack", "IP 10.0.0.1.80 > 10.0.0.2.4000: Flags [.], ack 2000, win 256, length 0", frame(typeIPv4, ip4(6, 0, tcp(80, 4000, 0x10, ""))), true},
	{"data", "IP 10.0.0.1.81 > 10.0.0.2.4000: Flags [P.], seq 4294967290:4, ack 2000, win 256, length 10", frame(typeIPv4, ip4(6, 0, tcp(81, 4000, 0x18, "0123456789"))), true},
	{"reset", "IP6 fd00::1.81 > fd00::2.4000: Flags [R.], seq 4294967290, ack 2000, win 256, length 0", frame(typeIPv6, ip6(6, tcp(81, 4000, 0x14, ""))), true},
	{"no flags", "IP 10.0.0.1.81 > 10.0.0.2.4000: Flags [none], win 256, length 0", frame(typeIPv4, ip4(6, 0, tcp(81, 4000, 0, ""))), true},
	{"request", "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [P.], seq 4294967290:13, ack 2000, win 256, length 19: HTTP: GET /x HTTP/1.1", frame(typeIPv4, ip4(6, 0, tcp(4000, 80, 0x18, "GET /x HTTP/1.1\r\n\r\n"))), true},
	{"response", "IP 10.0.0.1.80 > 10.0.0.2.4000: Flags [P.], seq 4294967290:13, ack 2000, win 256, length 19: HTTP: HTTP/1.1 200 OK", frame(typeIPv4, ip4(6, 0, tcp(80, 4000, 0x18, "HTTP/1.1 200 OK\r\n\r\n"))), true},
	{"http that attacks", "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [P.], seq 4294967290:13, ack 2000, win 256, length 19: HTTP: GET /\ufffd[2J HTTP/1.1", frame(typeIPv4, ip4(6, 0, tcp(4000, 80, 0x18, "GET /\x1b[2J HTTP/1.1\n"))), false},
	{"udp", "IP 10.0.0.1.4000 > 10.0.0.2.4001: UDP, length 5", frame(typeIPv4, ip4(17, 0, udp(4000, 4001, []byte("hello")))), true},
	{"query", "IP 10.0.0.1.4000 > 10.0.0.2.53: 4711+ A? web.shop.svc.cluster.local. (44)", frame(typeIPv4, ip4(17, 0, udp(4000, 53, pack(webA)))), true},
	{"aaaa over version 6", "IP6 fd00::1.4000 > fd00::2.53: 4711+ AAAA? web. (21)", frame(typeIPv6, ip6(17, udp(4000, 53, pack(query("web.", dnsmessage.TypeAAAA))))), true},
	{"answer", "IP 10.0.0.1.53 > 10.0.0.2.4000: 4711 2/0/0 A 10.1.2.3, A 10.1.2.4 (76)", frame(typeIPv4, ip4(17, 0, udp(53, 4000, pack(answer(webA, &dnsmessage.AResource{A: [4]byte{10, 1, 2, 3}}, &dnsmessage.AResource{A: [4]byte{10, 1, 2, 4}}))))), false},
	{"chain", "IP 10.0.0.1.53 > 10.0.0.2.4000: 4711 1/0/0 CNAME db.prod. (65)", frame(typeIPv4, ip4(17, 0, udp(53, 4000, pack(answer(webA, &dnsmessage.CNAMEResource{CNAME: name("db.prod.")}))))), false},
	{"service", "IP 10.0.0.1.53 > 10.0.0.2.4000: 4711 1/0/0 SRV db.prod.:5432 (71)", frame(typeIPv4, ip4(17, 0, udp(53, 4000, pack(answer(webA, &dnsmessage.SRVResource{Port: 5432, Target: name("db.prod.")}))))), false},
	{"refused", "IP 10.0.0.1.53 > 10.0.0.2.4000: 1- Refused 0/0/0 (12)", frame(typeIPv4, ip4(17, 0, udp(53, 4000, pack(refused)))), false},
	{"no such name", "IP 10.0.0.1.53 > 10.0.0.2.4000: 2 NXDomain 0/0/0 (12)", frame(typeIPv4, ip4(17, 0, udp(53, 4000, pack(noSuch)))), false},
	{"cut query", "IP 10.0.0.1.4000 > 10.0.0.2.53: [|domain] (5)", frame(typeIPv4, ip4(17, 0, udp(4000, 53, []byte("12345")))), false},
	{"dns over tcp", "IP 10.0.0.1.4000 > 10.0.0.2.53: Flags [P.], seq 4294967290:17, ack 2000, win 256, length 23: 4711+ AAAA? web. (21)", frame(typeIPv4, ip4(6, 0, tcp(4000, 53, 0x18, "\x00\x15"+string(pack(query("web.", dnsmessage.TypeAAAA)))))), false},
	{"echo", "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 1, length 12", frame(typeIPv4, ip4(1, 0, []byte{8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4})), true},
	{"port unreachable", "IP 10.0.0.1 > 10.0.0.2: ICMP 10.0.0.2 udp port 99 unreachable, length 36", frame(typeIPv4, ip4(1, 0, []byte{3, 3, 0, 0, 0, 0, 0, 0}, ip4(17, 0, udp(4000, 99, nil)))), true},
	{"port unreachable 6", "IP6 fd00::1 > fd00::2: ICMP6, destination unreachable, unreachable port, fd00::2 udp port 99, length 56", frame(typeIPv6, ip6(58, icmp6(1, 4, 0, 0, 0, 0), ip6(17, udp(4000, 99, nil)))), true},
	{"address unreachable 6", "IP6 fd00::1 > fd00::2: ICMP6, destination unreachable, unreachable address fd00::2, length 56", frame(typeIPv6, ip6(58, icmp6(1, 3, 0, 0, 0, 0), ip6(17, udp(4000, 99, nil)))), true},
	{"host unreachable", "IP 10.0.0.1 > 10.0.0.2: ICMP host 10.0.0.2 unreachable, length 36", frame(typeIPv4, ip4(1, 0, []byte{3, 1, 0, 0, 0, 0, 0, 0}, ip4(17, 0, udp(4000, 99, nil)))), true},
	{"prohibited", "IP 10.0.0.1 > 10.0.0.2: ICMP host 10.0.0.2 unreachable - admin prohibited, length 36", frame(typeIPv4, ip4(1, 0, []byte{3, 10, 0, 0, 0, 0, 0, 0}, ip4(17, 0, udp(4000, 99, nil)))), true},
	{"too big", "IP 10.0.0.1 > 10.0.0.2: ICMP 10.0.0.2 unreachable - need to frag (mtu 1400), length 36", frame(typeIPv4, ip4(1, 0, []byte{3, 4, 0, 0, 0, 0, 5, 120}, ip4(17, 0, udp(4000, 99, nil)))), true},
	{"time exceeded", "IP 10.0.0.1 > 10.0.0.2: ICMP time exceeded in transit, length 8", frame(typeIPv4, ip4(1, 0, []byte{11, 0, 0, 0, 0, 0, 0, 0})), false},
	{"solicitation", "IP6 fd00::1 > fd00::2: ICMP6, neighbor solicitation, who has fd00::2, length 24", frame(typeIPv6, ip6(58, icmp6(135, 0, neighbour...))), true},
	{"advertisement", "IP6 fd00::1 > fd00::2: ICMP6, neighbor advertisement, tgt is fd00::2, length 24", frame(typeIPv6, ip6(58, icmp6(136, 0, neighbour...))), true},
	{"echo 6", "IP6 fd00::1 > fd00::2: ICMP6, echo reply, id 7, seq 1, length 8", frame(typeIPv6, ip6(58, icmp6(129, 0, 0, 7, 0, 1))), true},
	{"extension", "IP6 fd00::1 > fd00::2: ICMP6, multicast listener report v2, length 8", frame(typeIPv6, ip6(0, []byte{58, 0, 5, 2, 0, 0, 1, 0}, icmp6(143, 0, 0, 0, 0, 0))), false},
	{"who has", "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28", frame(typeARP, arp(1)), true},
	{"is at", "ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:01, length 28", frame(typeARP, arp(2)), true},
	{"fragment", "IP 10.0.0.1 > 10.0.0.2: UDP fragment, offset 1480, length 4", frame(typeIPv4, ip4(17, 185, []byte("1234"))), false},
	{"first fragment", "IP 10.0.0.1.4000 > 10.0.0.2.4001: UDP, length 1, first fragment", frame(typeIPv4, ip4(17, 0x2000, udp(4000, 4001, []byte("1")))), false},
	{"later fragment 6", "IP6 fd00::1 > fd00::2: UDP fragment, offset 1480, length 4", frame(typeIPv6, ip6(44, []byte{17, 0, 1480 >> 8, 1480 & 0xff, 0, 0, 0, 1}, []byte("1234"))), false},
	{"vlan", "vlan 5, IP 10.0.0.1.4000 > 10.0.0.2.4001: UDP, length 0", frame(typeVLAN, []byte{0, 5, 8, 0}, ip4(17, 0, udp(4000, 4001, nil))), false},
	{"inside another", "IP 10.0.0.1 > 10.0.0.2: IP6 fd00::1.1 > fd00::2.2: UDP, length 0", frame(typeIPv4, ip4(41, 0, ip6(17, udp(1, 2, nil)))), true},
	{"sctp", "IP 10.0.0.1 > 10.0.0.2: SCTP, length 3", frame(typeIPv4, ip4(132, 0, []byte("123"))), false},
	{"unknown protocol", "IP 10.0.0.1 > 10.0.0.2: protocol 200, length 3", frame(typeIPv4, ip4(200, 0, []byte("123"))), false},
	{"unknown type", "ethertype 0x88cc, length 3", frame(0x88cc, []byte("123")), false},
	{"padding", "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [.], ack 2000, win 256, length 0", frame(typeIPv4, ip4(6, 0, tcp(4000, 80, 0x10, "")), make([]byte, 6)), true},
	{"no frame", "[|link]", []byte{1, 2}, false},
	{"no header", "IP [|ip]", frame(typeIPv4, []byte{0x45}), false},
	{"no transport", "IP 10.0.0.1 > 10.0.0.2: [|tcp]", frame(typeIPv4, ip4(6, 0, []byte("1234567"))), false},
}

// lineOf returns a packet's line without its time and interface.
func lineOf(t *testing.T, data []byte) string {
	t.Helper()
	got := string(Append(nil, pcapng.Packet{Time: someTime, Data: data, Incoming: true}, ethernet, nil))
	rest, ok := strings.CutPrefix(got, "19:35:01.123456 web-0 In  ")
	if !ok {
		t.Fatalf("line = %q, want time, interface and direction first", got)
	}

	return strings.TrimSuffix(rest, "\n")
}

// TestLines checks the line of each kind of packet.
func TestLines(t *testing.T) {
	for _, sample := range samples {
		if got := lineOf(t, sample.frame); got != sample.want {
			t.Errorf("%s:\n got %s\nwant %s", sample.name, got, sample.want)
		}
	}
}

// TestLinesAreThoseOfTcpdump lets tcpdump read the same packets.
func TestLinesAreThoseOfTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		testenv.Missing(t, "needs tcpdump: apt-get install tcpdump")
	}

	var file bytes.Buffer
	w := pcapng.NewWriter(&file, "")
	number, err := w.AddInterface(ethernet)
	if err != nil {
		t.Fatal(err)
	}

	var want []string
	for _, sample := range samples {
		if !sample.likeTcpdump {
			continue
		}
		if err := w.WritePacket(pcapng.Packet{Interface: number, Time: someTime, Data: sample.frame}); err != nil {
			t.Fatal(err)
		}
		want = append(want, lineOf(t, sample.frame))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}

	got := readWithTcpdump(t, file.Bytes())
	if len(got) != len(want) {
		t.Fatalf("tcpdump shows %d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("packet %d:\n    kdiag %s\n  tcpdump %s", i, want[i], got[i])
		}
	}
}

// sayings is what tcpdump also says and kdiag leaves out.
var sayings = regexp.MustCompile(`(?m) \[\|.*$|length [0-9]+: (?:IP6)`)

func readWithTcpdump(t *testing.T, file []byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command("tcpdump", "-n", "-S", "-t", "-K", "-r", path).Output()
	if err != nil {
		t.Fatalf("tcpdump: %v", err)
	}

	return strings.Split(strings.TrimSpace(sayings.ReplaceAllString(string(out), "")), "\n")
}

// TestNames checks that names stand for addresses, and that a name cannot reach the terminal.
func TestNames(t *testing.T) {
	names := map[netip.Addr]string{
		netip.MustParseAddr("10.0.0.1"): "web-0.shop", netip.MustParseAddr("10.0.0.2"): "a\x1b]0;x\a",
	}
	packet := pcapng.Packet{Time: someTime, Data: frame(typeIPv4, ip4(17, 0, udp(1, 2, nil)))}
	got := string(Append([]byte("before "), packet, pcapng.Interface{Name: "eth0\n", LinkType: 1}, names))
	want := "before 19:35:01.123456 eth0  IP web-0.shop.1 > a\ufffd]0;x\ufffd.2: UDP, length 0\n"
	if got != want {
		t.Errorf("line = %q, want %q", got, want)
	}
}

// TestLinkTypes checks that the same packet is found behind each link's header.
func TestLinkTypes(t *testing.T) {
	packet, want := ip4(17, 0, udp(1, 2, nil)), "IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 0"
	cooked := append(make([]byte, 14), 8, 0)
	cooked2 := append([]byte{8, 0}, make([]byte, 18)...)
	for linkType, data := range map[uint16][]byte{
		pcapng.LinkTypeEthernet: frame(typeIPv4, packet), pcapng.LinkTypeRaw: packet,
		pcapng.LinkTypeLinuxCooked: join(cooked, packet), pcapng.LinkTypeLinuxSLL2: join(cooked2, packet),
	} {
		got := string(Append(nil, pcapng.Packet{Time: someTime, Data: data}, pcapng.Interface{LinkType: linkType}, nil))
		if !strings.HasSuffix(got, want+"\n") {
			t.Errorf("link type %d: line = %q, want %q", linkType, got, want)
		}
	}

	got := string(Append(nil, pcapng.Packet{Time: someTime, Data: packet}, pcapng.Interface{LinkType: 147}, nil))
	if want := "19:35:01.123456 link type 147, length 28\n"; got != want {
		t.Errorf("line = %q, want %q", got, want)
	}
}

// TestLargePacket checks the length of a packet that is larger than its header can tell.
func TestLargePacket(t *testing.T) {
	data := frame(typeIPv4, ip4(6, 0, tcp(1, 2, 0x10, "x")))
	data[16], data[17] = 0, 0
	got := string(Append(nil, pcapng.Packet{Time: someTime, Data: data, Length: 70054}, ethernet, nil))
	if want := ", length 70000\n"; !strings.HasSuffix(got, want) {
		t.Errorf("line = %q, want %q at its end", got, want)
	}
}

// longestLine is more than four answers with the longest names need.
const longestLine = 4096

// FuzzAppend looks for bytes that break out of the line, and for lines without end.
func FuzzAppend(f *testing.F) {
	for _, sample := range samples {
		f.Add(uint16(pcapng.LinkTypeEthernet), sample.frame, 0)
		f.Add(uint16(pcapng.LinkTypeEthernet), sample.frame[:len(sample.frame)*2/3], len(sample.frame))
	}
	f.Add(uint16(pcapng.LinkTypeRaw), ip4(17, 0, udp(53, 53, []byte("\x1b[2J"))), -5)
	f.Fuzz(func(t *testing.T, linkType uint16, data []byte, length int) {
		packet := pcapng.Packet{Time: someTime, Data: data, Length: length}
		got := string(Append(nil, packet, pcapng.Interface{Name: "web-0", LinkType: linkType}, nil))

		if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
			t.Errorf("line = %q, want one line", got)
		}
		if len(got) > longestLine {
			t.Errorf("the line has %d bytes", len(got))
		}
		testenv.VerifyPrintable(t, "the line", got)
	})
}

func BenchmarkAppend(b *testing.B) {
	packet := pcapng.Packet{Time: someTime, Data: samples[3].frame, Incoming: true}
	var text []byte
	for b.Loop() {
		text = Append(text[:0], packet, ethernet, nil)
	}
}
