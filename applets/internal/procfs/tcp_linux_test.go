package procfs

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

// TestListening finds listeners of the test's own.
func TestListening(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("listen %s: %v", address, err)
			continue
		}
		defer l.Close()
		want := l.Addr().(*net.TCPAddr).AddrPort()
		got, err := Listening()
		if err != nil || !has(got, want) {
			t.Errorf("Listening() = %v, %v, want %v among them", got, err, want)
		}
	}
}

func has(sockets []Socket, local netip.AddrPort) bool {
	for _, s := range sockets {
		if s.Local == local && s.State == TCPListen && s.UID == uint32(os.Getuid()) && s.Inode != 0 {
			return true
		}
	}
	return false
}
