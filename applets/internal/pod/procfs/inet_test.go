package procfs

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const tcpHeading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// tcpText has the form that a little-endian machine writes.
const tcpText = tcpHeading +
	"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 47110 1 00000000c0ffee00 100 0 0 10 0\n" +
	"   1: 0200010A:1F90 0100010A:D431 01 00000000:00000000 02:000009C4 00000000     0        0 47111 2 00000000c0ffee01 20 4 30 10 -1\n" +
	"  12: 0200010A:1F90 0100010A:D432 06 00000000:00000000 03:00000F2C 00000000     0        0 0 3 00000000c0ffee02\n"

const tcp6Text = tcpHeading +
	"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 9 1 00000000c0ffee03 100 0 0 10 0\n" +
	"   1: 0000000000000000FFFF00000200010A:0050 0000000000000000FFFF00000100010A:D431 01 00000000:00000000 00:00000000 00000000     0        0 10 1 00000000c0ffee04 20 4 0 10 -1\n" +
	"   2: 0100B80D000000000000000001000000:01BB 000080FE00000000000000000200FE00:FFFF 08 00000000:00000000 00:00000000 00000000     0        0 11 1 00000000c0ffee05 20 4 0 10 -1\n"

func newInetSocket(local, remote string, state TCPState, uid uint32, inode uint64) InetSocket {
	return InetSocket{netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote), state, uid, inode}
}

func TestParseTCP(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the captured text is of a little-endian machine")
	}

	for text, want := range map[string][]InetSocket{
		tcpHeading: nil,
		tcpText: {
			newInetSocket("127.0.0.1:8080", "0.0.0.0:0", TCPListen, 1000, 47110),
			newInetSocket("10.1.0.2:8080", "10.1.0.1:54321", TCPEstablished, 0, 47111),
			newInetSocket("10.1.0.2:8080", "10.1.0.1:54322", 6, 0, 0),
		},
		tcp6Text: {
			newInetSocket("[::]:80", "[::]:0", TCPListen, 65534, 9),
			newInetSocket("[::ffff:10.1.0.2]:80", "[::ffff:10.1.0.1]:54321", TCPEstablished, 0, 10),
			newInetSocket("[db8:1::1]:443", "[fe80::fe:2]:65535", 8, 0, 11),
		},
	} {
		want = slices.Clone(want)
		if got, err := parseTCP(strings.NewReader(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseTCP(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseTCPRefuses(t *testing.T) {
	line := "   0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 1000 0 47110\n"
	if _, err := parseTCP(strings.NewReader(tcpHeading + line)); err != nil {
		t.Fatalf("parseTCP(%q) = %v", line, err)
	}

	for _, text := range []string{
		"", "garbage", line,
		tcpHeading + "\n",
		tcpHeading + "   0: 0100007F:1F90 00000000:0000 0A\n",
		tcpHeading + strings.Repeat("x", 1<<20),
		tcpHeading + strings.TrimSuffix(line, "\n") + strings.Repeat(" ", maxTCPLine) + "\n",
		tcpHeading + strings.Replace(line, "0100007F", "0100007", 1),
		tcpHeading + strings.Replace(line, "0100007F", "0100007F00", 1),
		tcpHeading + strings.Replace(line, "0100007F", "0100007G", 1),
		tcpHeading + strings.Replace(line, ":1F90", "", 1),
		tcpHeading + strings.Replace(line, "1F90", "11F90", 1),
		tcpHeading + strings.Replace(line, " 0A ", " 100 ", 1),
		tcpHeading + strings.Replace(line, " 1000 ", " -1 ", 1),
		tcpHeading + strings.Replace(line, " 47110", " x", 1),
		tcpHeading + strings.Repeat(line, maxSockets+1),
	} {
		if got, err := parseTCP(strings.NewReader(text)); err == nil || got != nil {
			t.Errorf("parseTCP(%.200q) = %d sockets, %v, want an error", text, len(got), err)
		}
	}
}

func FuzzParseTCP(f *testing.F) {
	f.Add(tcpText)
	f.Add(tcp6Text)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTCP(strings.NewReader(text))
		if err != nil && got != nil {
			t.Errorf("parseTCP(%q) = %v with %v", text, got, err)
		}
		for _, s := range got {
			if !s.Local.IsValid() || !s.Remote.IsValid() {
				t.Errorf("parseTCP(%q) has %v", text, s)
			}
		}
	})
}

const udpText = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n" +
	"  123: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 21 2 00000000c0ffee00 0\n" +
	"  200: 0200010A:D431 0100010A:0035 01 00000000:00000000 00:00000000 00000000     0        0 22 2 00000000c0ffee01 3\n"

func TestScanUDP(t *testing.T) {
	var got []InetSocket
	err := scanInetSockets(strings.NewReader(udpText), func(s InetSocket) bool { got = append(got, s); return true })
	want := []InetSocket{
		newInetSocket("0.0.0.0:68", "0.0.0.0:0", TCPClose, 101, 21),
		newInetSocket("10.1.0.2:54321", "10.1.0.1:53", TCPEstablished, 0, 22),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("scanInetSockets(%q) = %v, %v, want %v", udpText, got, err, want)
	}
}

// TestScanStops reads no further than it is asked to.
func TestScanStops(t *testing.T) {
	calls := 0
	err := scanInetSockets(strings.NewReader(tcpText+"garbage\n"), func(InetSocket) bool { calls++; return calls < 2 })
	if err != nil || calls != 2 {
		t.Errorf("scanInetSockets stopped after 2: %d calls, %v", calls, err)
	}
}

func TestTCPState(t *testing.T) {
	for state, want := range map[TCPState]string{0: "0", 1: "ESTABLISHED", 6: "TIME_WAIT", 7: "CLOSE", 10: "LISTEN", 12: "NEW_SYN_RECV", 13: "13", 255: "255"} {
		if got := state.String(); got != want {
			t.Errorf("String of state %d = %q, want %q", uint8(state), got, want)
		}
	}
}
