package podsockets

import (
	"net"
	"os"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/sockdiag"
	"kdiag/netfilter"
	"kdiag/netfilter/netnstest"
)

// TestReadMark reads the marks of marked sockets of all kinds, from their addresses.
func TestReadMark(t *testing.T) {
	ns := netnstest.New(t)
	ns.Enter(t)
	config := net.ListenConfig{Control: netfilter.ControlMark(77)}
	for _, address := range []string{"127.0.0.1:0", ":0", "[::1]:0"} {
		l, err := config.Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		host := "127.0.0.1"
		if address == "[::1]:0" {
			host = "::1"
		}
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
	}
	r, err := sockdiag.OpenMarkReader()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"tcp", "tcp6"} {
		err := procfs.EachInetSocket("/proc/thread-self/net/"+f, func(s procfs.InetSocket) bool {
			mark, err := r.ReadMark(s.Local, s.Remote)
			t.Log(s, mark, err)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Getpid
}
