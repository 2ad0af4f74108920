package procfs

import (
	"net"
	"net/netip"
	"os"
	"slices"
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

// TestSocketInodes finds a listener of the test's own among its descriptors.
func TestSocketInodes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	second, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()

	inodes, cut, err := SocketInodes(os.Getpid(), 1000)
	if err != nil || cut {
		t.Fatalf("SocketInodes = %v, %v, %v", inodes, cut, err)
	}

	want := l.Addr().(*net.TCPAddr).AddrPort()
	found := false
	err = EachSocket("/proc/net/tcp", func(s Socket) bool {
		found = found || s.Local == want && slices.Contains(inodes, s.Inode)
		return true
	})
	if err != nil || !found {
		t.Errorf("EachSocket: %v, want %v with one of the inodes %v", err, want, inodes)
	}

	foundUnix := false
	err = EachUnixSocket("/proc/net/unix", func(s UnixSocket) bool {
		foundUnix = foundUnix || s.Path == second.Addr().String() && s.Listening && slices.Contains(inodes, s.Inode)
		return true
	})
	if err != nil || !foundUnix {
		t.Errorf("EachUnixSocket: %v, want %v with one of the inodes %v", err, second.Addr(), inodes)
	}
	if inodes, cut, err := SocketInodes(os.Getpid(), 1); err != nil || !cut || len(inodes) != 1 {
		t.Errorf("SocketInodes of 1 at most = %v, %v, %v", inodes, cut, err)
	}
	if _, _, err := SocketInodes(1<<30, 1); !os.IsNotExist(err) {
		t.Errorf("SocketInodes of no process = %v, want that it does not exist", err)
	}
}
