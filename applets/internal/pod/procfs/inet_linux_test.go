package procfs

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
)

// TestListListeners finds listeners of the test's own.
func TestListListeners(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("listen %s: %v", address, err)
			continue
		}
		defer l.Close()

		want := l.Addr().(*net.TCPAddr).AddrPort()
		got, err := ListListeners()
		if err != nil || !hasListener(got, want) {
			t.Errorf("ListListeners() = %v, %v, want %v among them", got, err, want)
		}
	}
}

func hasListener(sockets []InetSocket, local netip.AddrPort) bool {
	for _, s := range sockets {
		if s.Local == local && s.State == TCPListen && s.UID == uint32(os.Getuid()) && s.Inode != 0 {
			return true
		}
	}
	return false
}

// TestListSocketInodes finds a listener of the test's own among its descriptors.
func TestListSocketInodes(t *testing.T) {
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

	inodes, cut, err := ListSocketInodes(os.Getpid(), 1000)
	if err != nil || cut {
		t.Fatalf("ListSocketInodes = %v, %v, %v", inodes, cut, err)
	}

	want := l.Addr().(*net.TCPAddr).AddrPort()
	found := false
	err = EachInetSocket("/proc/net/tcp", func(s InetSocket) bool {
		found = found || s.Local == want && slices.Contains(inodes, s.Inode)
		return true
	})
	if err != nil || !found {
		t.Errorf("EachInetSocket: %v, want %v with one of the inodes %v", err, want, inodes)
	}

	foundUnix := false
	err = EachUnixSocket("/proc/net/unix", func(s UnixSocket) bool {
		foundUnix = foundUnix || s.Path == second.Addr().String() && s.Listening && slices.Contains(inodes, s.Inode)
		return true
	})
	if err != nil || !foundUnix {
		t.Errorf("EachUnixSocket: %v, want %v with one of the inodes %v", err, second.Addr(), inodes)
	}
	if inodes, cut, err := ListSocketInodes(os.Getpid(), 1); err != nil || !cut || len(inodes) != 1 {
		t.Errorf("ListSocketInodes of 1 at most = %v, %v, %v", inodes, cut, err)
	}
	if _, _, err := ListSocketInodes(1<<30, 1); !os.IsNotExist(err) {
		t.Errorf("ListSocketInodes of no process = %v, want that it does not exist", err)
	}
}
