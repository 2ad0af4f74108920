package pcapng

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kdiag/integration/testenv"
)

// someTime has nanoseconds, and more of them than fit in 32 bits.
var someTime = time.Unix(1700000000, 123456789)

// someFrame returns an Ethernet frame with a SYN from 10.0.0.1:80 to 10.0.0.2:257.
func someFrame() []byte {
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}
	frame = append(frame, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)

	return append(frame, 0, 80, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
}

// writeSample returns a file with something of everything.
func writeSample(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, "what the file is")
	web := addInterface(t, w, Interface{
		Name: "web-0", Description: "eth0 of pod shop/web-0", LinkType: LinkTypeEthernet,
		SnapLen: 262144, Filter: "tcp port 80",
	})
	raw := addInterface(t, w, Interface{Name: "web-1", LinkType: LinkTypeRaw})

	names := map[netip.Addr][]string{
		netip.MustParseAddr("10.0.0.1"): {"web-0.shop", "", "bad\x00name"},
		netip.MustParseAddr("fd00::1"):  {"web.shop.svc", "web-1.shop"},
		netip.MustParseAddr("10.0.0.9"): nil,
	}
	if err := w.WriteNames(names); err != nil {
		t.Fatal(err)
	}

	packets := []Packet{
		{Interface: web, Time: someTime, Length: 99, Data: someFrame(), Outgoing: true, Comment: "pod shop/web-0"},
		{Interface: raw, Time: someTime.Add(time.Nanosecond), Length: 40, Data: someFrame()[14:], Incoming: true},
		{Interface: web, Time: someTime.Add(time.Hour), Data: someFrame()[:53]},
	}
	for _, packet := range packets {
		if err := w.WritePacket(packet); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.WriteStatistics(web, someTime.Add(time.Second), 1<<33, 7); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if w.Written() != int64(out.Len()) {
		t.Errorf("Written() = %d, want %d", w.Written(), out.Len())
	}

	return out.Bytes()
}

func addInterface(t *testing.T, w *Writer, added Interface) int {
	t.Helper()
	number, err := w.AddInterface(added)
	if err != nil {
		t.Fatal(err)
	}

	return number
}

// runTshark returns what tshark reads from a file.
func runTshark(t *testing.T, file []byte, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		testenv.Missing(t, "needs tshark: apt-get install tshark")
	}

	path := filepath.Join(t.TempDir(), "sample.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}

	command := exec.Command("tshark", append([]string{"-r", path}, args...)...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("tshark %q: %v: %s", args, err, stderr.String())
	}

	return string(out)
}

// TestTsharkReadsPackets lets tshark read what belongs to each packet.
func TestTsharkReadsPackets(t *testing.T) {
	fields := []string{
		"frame.interface_name", "frame.interface_description", "frame.time_epoch", "frame.len",
		"frame.cap_len", "frame.packet_flags_direction", "frame.comment", "tcp.srcport",
	}
	args := []string{"-T", "fields", "-E", "separator=|"}
	for _, field := range fields {
		args = append(args, "-e", field)
	}

	got := strings.Split(strings.TrimSpace(runTshark(t, writeSample(t), args...)), "\n")
	want := []string{
		"web-0|eth0 of pod shop/web-0|1700000000.123456789|99|54|0x00000002|pod shop/web-0|80",
		"web-1||1700000000.123456790|40|40|0x00000001||80",
		"web-0|eth0 of pod shop/web-0|1700003600.123456789|53|53||",
	}
	if len(got) != len(want) {
		t.Fatalf("tshark shows %d packets, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}

	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("packet %d = %s, want %s", i, got[i], want[i])
		}
	}
}

// TestTsharkReadsNames lets tshark show the names of addresses.
func TestTsharkReadsNames(t *testing.T) {
	got := runTshark(t, writeSample(t), "-N", "n", "-c", "1")
	if !strings.Contains(got, "web-0.shop → 10.0.0.2") {
		t.Errorf("tshark = %q, want the name of 10.0.0.1", got)
	}
}

// TestTsharkReadsBlocks lets tshark take the file itself apart: it verifies lengths, and shows
// what it shows nowhere else.
func TestTsharkReadsBlocks(t *testing.T) {
	got := runTshark(t, writeSample(t), "-X", "read_format:MIME Files Format", "-V")
	if strings.Contains(got, "Malformed") || strings.Contains(got, "Expert Info") {
		t.Errorf("tshark finds faults:\n%s", got)
	}

	for _, want := range []string{
		"Comment: what the file is", "User Application: kdiag", "Filter string: tcp port 80",
		"Snap Length: 262144", "Link Type: RAW (101)", "10^-9 (nanoseconds)",
		"IPv4: 10.0.0.1\n", "Name: web-0.shop\n",
		"IPv6: fd00::1\n", "Name: web.shop.svc\n", "Name: web-1.shop\n",
		"Number of Received Packets = 8589934592", "Number of Dropped Packets = 7",
		"Timestamp: Nov 14, 2023 22:13:21.123456789",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("tshark does not show %q", want)
		}
	}

	for _, unwanted := range []string{"10.0.0.9", "bad"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("tshark shows %q", unwanted)
		}
	}
}

// splitBlocks takes a file apart by the lengths at both ends of each block.
func splitBlocks(t *testing.T, file []byte) (blocks [][]byte) {
	t.Helper()
	for len(file) > 0 {
		if len(file) < 12 {
			t.Fatalf("%d bytes are left over", len(file))
		}

		length := binary.LittleEndian.Uint32(file[4:])
		if length%4 != 0 || length < 12 || int(length) > len(file) {
			t.Fatalf("a block has length %d of %d", length, len(file))
		}
		if end := binary.LittleEndian.Uint32(file[length-4:]); end != length {
			t.Fatalf("a block has lengths %d and %d", length, end)
		}

		blocks, file = append(blocks, file[:length]), file[length:]
	}

	return blocks
}

// FuzzWriter writes texts and data of any kind and looks at the blocks.
func FuzzWriter(f *testing.F) {
	f.Add("comment", "name", []byte("data"))
	f.Add(strings.Repeat("é", 40000), "\xff\x00", []byte{})
	f.Fuzz(func(t *testing.T, comment, name string, data []byte) {
		var out bytes.Buffer
		w := NewWriter(&out, comment)
		number := addInterface(t, w, Interface{Name: name, Description: comment, Filter: comment, LinkType: 1})
		err := errors.Join(
			w.WritePacket(Packet{Interface: number, Time: someTime, Data: data, Comment: comment}),
			w.WriteNames(map[netip.Addr][]string{
				{}: {"invalid"}, netip.IPv6Unspecified(): {name, comment, name},
			}),
			w.WriteStatistics(number, someTime, 1, 2), w.Flush())
		if err != nil {
			t.Fatal(err)
		}

		blocks := splitBlocks(t, out.Bytes())
		packet := blocks[2]
		if got := packet[28 : 28+len(data)]; !bytes.Equal(got, data) {
			t.Errorf("the packet has %x, want %x", got, data)
		}
	})
}

// TestManyNames checks that an address can have more names than a record has room for.
func TestManyNames(t *testing.T) {
	names := slices.Repeat([]string{strings.Repeat("n", 1000)}, 200)
	var out bytes.Buffer
	w := NewWriter(&out, "")
	err := w.WriteNames(map[netip.Addr][]string{netip.MustParseAddr("::ffff:10.0.0.1"): names})
	if err = errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}

	if got := bytes.Count(splitBlocks(t, out.Bytes())[1], []byte(names[0]+"\x00")); got != len(names) {
		t.Errorf("the block has %d names, want %d", got, len(names))
	}
	if got := strings.Count(runTshark(t, out.Bytes(), "-X", "read_format:MIME Files Format", "-V"), "IPv4: 10.0.0.1\n"); got < 2 {
		t.Errorf("tshark shows %d records, want several", got)
	}
}

// TestLongTextIsCut checks that a comment ends with a whole character.
func TestLongTextIsCut(t *testing.T) {
	for _, text := range []string{strings.Repeat("é", maxValue), "a" + strings.Repeat("é", maxValue)} {
		if got := cutText(text); len(got) > maxValue || len(got) < maxValue-1 || !utf8.ValidString(got) {
			t.Errorf("cutText() has %d bytes, valid %v", len(got), utf8.ValidString(got))
		}
	}
}

// TestUnknownInterface checks that no packet names an interface that the file does not have.
func TestUnknownInterface(t *testing.T) {
	w := NewWriter(io.Discard, "")
	for _, number := range []int{-1, 0, 1} {
		if err := w.WritePacket(Packet{Interface: number}); err == nil {
			t.Errorf("WritePacket to interface %d succeeded", number)
		}
		if err := w.WriteStatistics(number, someTime, 0, 0); err == nil {
			t.Errorf("WriteStatistics of interface %d succeeded", number)
		}
	}
}

// failingWriter takes some bytes and then fails.
type failingWriter struct{ left int }

var errFull = errors.New("full")

func (w *failingWriter) Write(data []byte) (int, error) {
	if w.left -= len(data); w.left < 0 {
		return 0, errFull
	}

	return len(data), nil
}

// TestWriteFailureStays checks that nothing is written after a write has failed.
func TestWriteFailureStays(t *testing.T) {
	w := NewWriter(&failingWriter{left: bufferSize}, "")
	number := addInterface(t, w, Interface{LinkType: LinkTypeEthernet})
	for range 3 * bufferSize {
		if err := w.WritePacket(Packet{Interface: number, Data: someFrame()}); err != nil {
			break
		}
	}

	for name, err := range map[string]error{
		"WritePacket": w.WritePacket(Packet{Interface: number}), "Flush": w.Flush(),
		"WriteStatistics": w.WriteStatistics(number, someTime, 0, 0),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s after a failure = %v, want %v", name, err, errFull)
		}
	}
}

// TestPacketAllocatesNothing checks that the collector has no work, whatever the rate.
func TestPacketAllocatesNothing(t *testing.T) {
	w := NewWriter(io.Discard, "")
	number := addInterface(t, w, Interface{LinkType: LinkTypeEthernet})
	packet := Packet{Interface: number, Time: someTime, Data: someFrame(), Outgoing: true, Comment: "pod shop/web-0"}
	got := testing.AllocsPerRun(1000, func() {
		if err := w.WritePacket(packet); err != nil {
			t.Fatal(err)
		}
	})
	if got > 0 {
		t.Errorf("WritePacket allocates %v times, want none", got)
	}
}

func BenchmarkWritePacket(b *testing.B) {
	w := NewWriter(io.Discard, "")
	number, _ := w.AddInterface(Interface{LinkType: LinkTypeEthernet})
	packet := Packet{Interface: number, Time: someTime, Data: make([]byte, 1500), Comment: "pod shop/web-0"}
	for b.Loop() {
		_ = w.WritePacket(packet)
	}
}
