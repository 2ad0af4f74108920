package packets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"kdiag/applets"
	"kdiag/integration/testenv"
	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"

	"golang.org/x/sys/unix"
)

// takeAll is the filter that takes whole packets.
var takeAll = program{{Op: returnValue, K: wire.MaxSnapLen}}

// everything asks for all packets of all interfaces.
func everything() wire.PacketsRequest {
	return wire.PacketsRequest{SnapLen: wire.MaxSnapLen, Filters: []wire.PacketFilter{{LinkType: wire.LinkEthernet, Program: takeAll}}}
}

// taken is what a capture has sent.
type taken struct {
	packets map[string]int // by interface
	ports   map[uint16]int // of TCP over IPv4, both of a packet
	counts  map[uint16]wire.PacketStatistics
	sent    map[uint16]uint64
	ended   bool
	notes   []string
}

// readAll reads what a capture sends until its end.
func readAll(t *testing.T, in io.Reader) *taken {
	t.Helper()
	all := &taken{packets: map[string]int{}, ports: map[uint16]int{}, counts: map[uint16]wire.PacketStatistics{}, sent: map[uint16]uint64{}}
	names := map[uint16]string{}
	for r := wire.NewPacketReader(in); !all.ended; {
		kind, err := r.Next()
		if err != nil {
			t.Error(err)
			return all
		}

		switch kind {
		case wire.RecordInterface:
			names[r.Interface.Number] = r.Interface.Name
		case wire.RecordStatistics:
			all.counts[r.Statistics.Interface] = r.Statistics
		case wire.RecordNote:
			all.notes = append(all.notes, r.Note)
		case wire.RecordEnd:
			all.ended = true
		case wire.RecordPacket:
			all.packets[names[r.Packet.Interface]]++
			all.sent[r.Packet.Interface]++
			if data := r.Packet.Data; len(data) > 54 && data[12] == 8 && data[23] == protocolTCP {
				all.ports[uint16(data[34])<<8|uint16(data[35])]++
				all.ports[uint16(data[36])<<8|uint16(data[37])]++
			}
		}
	}
	return all
}

// verifyCounts checks that every packet that the kernel took was sent or counted as dropped.
func (all *taken) verifyCounts(t *testing.T) {
	t.Helper()
	for number, counted := range all.counts {
		if counted.Sent != all.sent[number] || counted.Received != counted.Sent+counted.Dropped {
			t.Errorf("interface %d: %d packets came, the statistics are %+v", number, all.sent[number], counted)
		}
	}
}

// startCapture opens a capture in a namespace. stop ends it.
func startCapture(t *testing.T, ns netnstest.Namespace, request wire.PacketsRequest, out io.Writer) (stop func(), ended <-chan error) {
	t.Helper()
	var c *capturer
	err := ns.Do(func() (err error) {
		c, err = open(request, out)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	done := make(chan error, 1)
	go func() { done <- c.capture() }()
	return func() { c.obey(bufio.NewReader(strings.NewReader(wire.StopPackets + "\n"))) }, done
}

// exchange makes a TCP connection over loopback and sends a word in both directions.
func exchange(t *testing.T, ns netnstest.Namespace, port int) {
	t.Helper()
	err := ns.Do(func() error {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("word")); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 4))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// echo answers with the same four bytes.
func echo(conn net.Conn) {
	defer conn.Close()
	word := make([]byte, 4)
	if _, err := io.ReadFull(conn, word); err == nil {
		_, _ = conn.Write(word)
		_, _ = conn.Read(word)
	}
}

// TestLoopback captures what happens on loopback: each packet once, and none of the ports that are
// hidden.
func TestLoopback(t *testing.T) {
	testenv.MustHaveRoot(t)
	ns := netnstest.New(t)
	for _, port := range []string{"7001", "7002", "7003"} {
		ns.Serve(t, "127.0.0.1:"+port, echo)
	}

	request := everything()
	request.HiddenPorts = []uint16{7002, 7003}
	var out bytes.Buffer
	stop, ended := startCapture(t, ns, request, &out)
	for _, port := range []int{7001, 7002, 7003} {
		exchange(t, ns, port)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	all := readAll(t, &out)
	all.verifyCounts(t)
	// At least: SYN, SYN+ACK, ACK, and a word with its ACK in each direction. Twice as many would
	// be 14.
	if n := all.ports[7001]; n < 7 || n > 11 {
		t.Errorf("%d packets of port 7001, want each once", n)
	}
	if n := all.ports[7002] + all.ports[7003]; n > 0 {
		t.Errorf("%d packets of hidden ports", n)
	}
}

// TestDropsAreCounted has a reader that does not read: the kernel drops packets, and counts each.
func TestDropsAreCounted(t *testing.T) {
	testenv.MustHaveRoot(t)
	ns := netnstest.New(t)
	reader, writer := io.Pipe()
	stop, ended := startCapture(t, ns, everything(), writer)

	// More than the ring holds.
	const packets, size = 1500, 60000
	var sent atomic.Int64
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range packets {
			to := &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}
			if err := unix.Sendto(fd, make([]byte, size), 0, to); err != nil && !errors.Is(err, unix.ECONNREFUSED) {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	go stop()
	all := readAll(t, reader)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	all.verifyCounts(t)
	counted := all.counts[0]
	if counted.Dropped == 0 || counted.Received < packets {
		t.Errorf("%d packets were sent; counted: %+v, want drops", packets, counted)
	}
}

// TestInterfaces finds the interfaces that are up, with their types, or the one that is named.
func TestInterfaces(t *testing.T) {
	testenv.MustHaveRoot(t)
	ns := netnstest.New(t)
	ns.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
	ns.Run(t, "ip", "link", "set", "eth0", "up")
	ns.Run(t, "ip", "tuntap", "add", "tun0", "mode", "tun")
	ns.Run(t, "ip", "link", "set", "tun0", "up")

	const tooMany = wire.MaxInterfaces + 1
	find := func(change func(*wire.PacketsRequest)) (names []string, notes []string, err error) {
		request := everything()
		change(&request)
		err = ns.Do(func() error {
			found, left, err := findSources(request)
			for _, each := range found {
				names = append(names, each.Name)
			}
			notes = left
			return err
		})
		return names, notes, err
	}

	names, notes, err := find(func(*wire.PacketsRequest) {})
	if got := strings.Join(names, " "); got != "lo eth0" || err != nil || len(notes) != 1 || !strings.Contains(notes[0], "tun0 is left out: the filter does not fit") {
		t.Errorf("interfaces = %q, notes %q, %v; want lo and eth0, and a note on tun0", got, notes, err)
	}
	names, notes, err = find(func(r *wire.PacketsRequest) {
		r.Filters = append(r.Filters, wire.PacketFilter{LinkType: wire.LinkRaw, Program: takeAll})
	})
	if got := strings.Join(names, " "); got != "lo eth0 tun0" || err != nil || len(notes) != 0 {
		t.Errorf("interfaces = %q, notes %q, %v; want lo, eth0 and tun0", got, notes, err)
	}
	names, _, err = find(func(r *wire.PacketsRequest) { r.Interface = "eth0" })
	if got := strings.Join(names, " "); got != "eth0" || err != nil {
		t.Errorf("interfaces = %q, %v; want eth0", got, err)
	}
	for n := range tooMany - 2 {
		name := fmt.Sprintf("more%d", n)
		ns.Run(t, "ip", "link", "add", name, "type", "veth", "peer", "name", fmt.Sprintf("peer%d", n))
		ns.Run(t, "ip", "link", "set", name, "up")
	}
	names, notes, err = find(func(*wire.PacketsRequest) {})
	if len(names) != wire.MaxInterfaces || err != nil || !strings.Contains(strings.Join(notes, "\n"), "more62 is left out: 64 are captured already") {
		t.Errorf("%d interfaces of %d, notes %q, %v; want one left out", len(names), tooMany, notes, err)
	}

	if _, _, err = find(func(r *wire.PacketsRequest) { r.Interface = "eth1" }); err == nil || !strings.Contains(err.Error(), "no interface eth1, only lo,") {
		t.Errorf("interface eth1: %v", err)
	}
}

// TestVLANTag checks that the tag, which the kernel keeps apart, is put back.
func TestVLANTag(t *testing.T) {
	testenv.MustHaveRoot(t)
	ns := netnstest.New(t)
	ns.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "far")
	ns.Run(t, "ip", "link", "set", "eth0", "up")
	ns.Run(t, "ip", "link", "set", "far", "up")

	request := everything()
	request.Interface = "eth0"
	var out bytes.Buffer
	stop, ended := startCapture(t, ns, request, &out)
	frame := append([]byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x20, 5, 0x88, 0xb5}, make([]byte, 46)...)
	sendFrame(t, ns, "far", frame)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	for r := wire.NewPacketReader(&out); ; {
		kind, err := r.Next()
		if err != nil {
			t.Fatal("the frame did not come as it was sent")
		}
		if kind == wire.RecordPacket && bytes.Equal(r.Packet.Data, frame) && int(r.Packet.Length) == len(frame) && r.Packet.Incoming {
			return
		}
	}
}

// sendFrame sends a frame from an interface.
func sendFrame(t *testing.T, ns netnstest.Namespace, name string, frame []byte) {
	t.Helper()
	err := ns.Do(func() error {
		from, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: from.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoRight checks what is said without NET_RAW, as where the runtime does not grant it.
func TestNoRight(t *testing.T) {
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		var none [2]unix.CapUserData
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			failed <- err
			return
		}
		_, err := openRing(source{}, minBlocks)
		failed <- err
	}()

	err := <-failed
	if hints := strings.Join(applets.Hints(err), ""); !errors.Is(err, unix.EPERM) || !strings.Contains(hints, "grants no NET_RAW by default") {
		t.Errorf("openRing without NET_RAW = %v, hint %q", err, hints)
	}
}

// TestReadRequest checks what is refused.
func TestReadRequest(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "EOF",
		"{}\n":                                "snap length is 0",
		`{"snapLen":1}` + "\n":                "no filter",
		`{"snapLen":1,"filters":[{}]}` + "\n": "0 instructions",
		strings.Repeat("x", wire.MaxPacketsRequest+1): "buffer full",
	} {
		if _, _, err := readRequest(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("readRequest(%.40q) = %v, want %s", line, err, want)
		}
	}
}
