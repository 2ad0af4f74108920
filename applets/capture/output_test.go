package capture

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/integration/testenv"
	"kdiag/mux/wire"
)

// writeSome writes packets of two interfaces to an output, and ends it.
func writeSome(t *testing.T, out output, packets int) error {
	t.Helper()
	pod := (&fakePod{}).Pod()
	for n, name := range []string{"lo", "eth0"} {
		if number, err := out.addInterface(pod, query{snapLen: 100}, wire.PacketInterface{Number: uint16(n), Name: name, LinkType: wire.LinkEthernet}); number != n || err != nil {
			t.Fatalf("interface %d = %v", number, err)
		}
	}

	for n := range packets {
		p := pcapng.Packet{Interface: 1, Time: time.Unix(int64(n), 0), Length: 1000, Data: make([]byte, 1000)}
		if err := out.writePacket(p); err != nil {
			return err
		}
	}
	if err := out.writeStatistics(1, wire.PacketStatistics{Time: time.Unix(9, 0), Received: uint64(packets + 7), Dropped: 7}); err != nil {
		return err
	}
	return out.close()
}

// TestRingFiles checks that the files are named as tcpdump's, and that tshark reads each.
func TestRingFiles(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		testenv.Missing(t, "tshark: %v", err)
	}

	for name, c := range map[string]struct {
		size    int64
		keep    uint
		packets int
		want    string // the files, and how many packets each has
	}{
		"one":        {0, 0, 100, "f:100"},
		"no limit":   {10_000, 0, 25, "f:10 f1:10 f2:5"},
		"ring":       {10_000, 3, 45, "f0:10 f1:5 f2:10"},
		"ring of 1":  {10_000, 1, 25, "f:5"},
		"ring of 11": {10_000, 11, 15, "f00:10 f01:5"},
	} {
		folder := t.TempDir()
		files, err := openFiles(t.Context(), filepath.Join(folder, "f"), c.size, c.keep)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeSome(t, &fileOutput{file: files}, c.packets); err != nil {
			t.Errorf("%s: %v", name, err)
		}

		var got []string
		entries, _ := os.ReadDir(folder)
		for _, entry := range entries {
			out, err := exec.Command("tshark", "-r", filepath.Join(folder, entry.Name()), "-T", "fields", "-e", "frame.interface_name").Output()
			if err != nil {
				t.Errorf("%s: tshark of %s: %v", name, entry.Name(), err)
			}
			got = append(got, fmt.Sprintf("%s:%d", entry.Name(), strings.Count(string(out), "web/eth0\n")))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: files = %q, want %s", name, got, c.want)
		}
	}
}

// TestManyNames checks that names that are longer than a file should be don't give each packet a file
// of its own.
func TestManyNames(t *testing.T) {
	folder := t.TempDir()
	files, err := openFiles(t.Context(), filepath.Join(folder, "f"), 1000, 0)
	if err != nil {
		t.Fatal(err)
	}

	out := &fileOutput{file: files, names: map[netip.Addr][]string{}}
	for n := range 1000 {
		out.names[netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})] = []string{"a-pod.shop"}
	}
	if err := writeSome(t, out, 100); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(folder); len(entries) < 2 || len(entries) > 10 {
		t.Errorf("%d files for 100 packets, %v, want some", len(entries), err)
	}
}

// TestFullDisk checks that an output that cannot be written fails, and stays failed.
func TestFullDisk(t *testing.T) {
	files, err := openFiles(t.Context(), "/dev/full", 0, 0)
	if err != nil {
		testenv.Missing(t, "%v", err)
	}
	out := &fileOutput{file: files}
	if err := writeSome(t, out, 200); err == nil || !strings.Contains(err.Error(), "/dev/full: no space left on device") {
		t.Errorf("writing to a full disk = %v", err)
	}
	if err := out.close(); err == nil {
		t.Error("close after a failed write = nil")
	}
}

// TestNothingCaptured checks that a capture that never begins leaves files as they were.
func TestNothingCaptured(t *testing.T) {
	folder := t.TempDir()
	old := filepath.Join(folder, "old")
	if err := os.WriteFile(old, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{old, filepath.Join(folder, "new")} {
		files, err := openFiles(t.Context(), name, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		(&fileOutput{file: files}).discardIfEmpty()
	}

	if text, err := os.ReadFile(old); string(text) != "as it was" {
		t.Errorf("old file = %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "new")); err == nil {
		t.Error("a new file was left")
	}
}

// TestCounter checks that a capture ends at its count, and what is said then.
func TestCounter(t *testing.T) {
	for most, want := range map[uint64]string{
		0: "5 packets captured, 3 dropped by the kernel\n",
		1: "1 packet captured, 3 dropped by the kernel\n",
		4: "4 packets captured, 3 dropped by the kernel\n",
	} {
		enough := 0
		c := &counter{sink: &countingSink{}, most: most, enough: func() { enough++ }}
		for range 5 {
			if err := c.writePacket(pcapng.Packet{}); err != nil {
				t.Fatal(err)
			}
		}
		for number, dropped := range []uint64{1, 2} {
			if err := c.writeStatistics(number, wire.PacketStatistics{Dropped: dropped}); err != nil {
				t.Fatal(err)
			}
		}

		var out bytes.Buffer
		if err := c.report(&out); err != nil || out.String() != want || (enough == 1) != (most != 0) {
			t.Errorf("report with a count of %d = %q, %v, ended %d times, want %q", most, &out, err, enough, want)
		}
	}
}

// TestTextOutput checks that there is a line for each packet.
func TestTextOutput(t *testing.T) {
	var out, notes bytes.Buffer
	o, err := options{}.openOutput(t.Context(), applets.Streams{Out: &out, Err: &notes})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSome(t, o, 200); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 200 || !strings.Contains(out.String(), " eth0 ") {
		t.Errorf("output = %.300q, %v, want 200 lines", &out, err)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1_000_000, "2k": 2048, "3M": 3 << 20, "1g": 1 << 30} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "k", "1x", "1kk", "99999999999999999999", "2000000g"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
}
