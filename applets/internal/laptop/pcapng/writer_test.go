package pcapng

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, "whole file")
	n, _ := w.AddInterface(Interface{Name: "ns/web-0", Description: "eth0 of pod", LinkType: 1, SnapLen: 65535, Filter: "tcp port 80"})
	at := time.Unix(1700000000, 123456789)
	frame := make([]byte, 60)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2})
	w.WritePacket(Packet{Interface: n, Time: at, Length: 99, Data: frame, Outgoing: true, Comment: "pod ns/web-0"})
	w.WriteNames(map[netip.Addr][]string{netip.MustParseAddr("10.0.0.1"): {"web-0.ns"}, netip.MustParseAddr("fd00::1"): {"a", "b"}})
	w.WriteStatistics(n, at.Add(time.Second), 100, 7)
	w.Flush()
	os.WriteFile(filepath.Join("/tmp", "try.pcapng"), out.Bytes(), 0o644)
}
