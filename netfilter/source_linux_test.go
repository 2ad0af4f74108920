package netfilter

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// greetWithAddress says where a connection seems to come from.
func greetWithAddress(c net.Conn) string {
	address, _ := c.RemoteAddr().(*net.TCPAddr)
	return address.AddrPort().Addr().Unmap().String()
}

// callAs connects from the namespace itself as an address outside, and returns the greeting.
func callAs(keeper SourceKeeper, source netip.Addr, to string) (string, error) {
	forget := func() error { return nil }
	network := "tcp6"
	if source.Is4() {
		network = "tcp4"
	}
	dialer := net.Dialer{Control: ControlBound(testMark, func(port uint16) (err error) {
		forget, err = keeper.KeepSource(port, source)
		return err
	})}
	conn, err := dialer.Dial(network, to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := forget(); err != nil {
		return "", err
	}

	text := make([]byte, 100)
	n, err := conn.Read(text)
	return strings.TrimSpace(string(text[:n])), err
}

// TestKeepSource shows the application the caller's address, near or far, and for many callers at
// once.
func TestKeepSource(t *testing.T) {
	pod, _ := newPod(t)
	pod.Run(t, "ip", "route", "add", "default", "via", "10.1.0.1")
	startServer(t, pod, appPort, greetWithAddress)
	pod.Enter(t)
	backend, err := Open("nft", testConfig("abc1"))
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	attachAll(t, backend, incoming(appPort))
	keeper, ok := backend.(SourceKeeper)
	if !ok {
		t.Fatal("nft keeps no sources")
	}

	for source, to := range map[string]string{
		"10.1.0.1": "10.1.0.2:8080", "10.1.0.77": "10.1.0.2:8080", "203.0.113.9": "10.1.0.2:8080", "fd00:1::77": "[fd00:1::2]:8080",
	} {
		got, err := callAs(keeper, netip.MustParseAddr(source), to)
		if err != nil || got != source {
			t.Errorf("call as %s: the application sees %q, %v", source, got, err)
		}
	}

	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			source := fmt.Sprintf("10.1.0.%d", 100+i)
			_ = pod.Do(func() error {
				if got, err := callAs(keeper, netip.MustParseAddr(source), "10.1.0.2:8080"); err != nil || got != source {
					t.Errorf("call as %s among others: the application sees %q, %v", source, got, err)
				}
				return nil
			})
		})
	}
	all.Wait()

	// Without that, nothing is changed.
	wantGreeting(t, pod, testMark, "10.1.0.2:8080", "10.1.0.2")
	if err := backend.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := keeper.KeepSource(1, netip.MustParseAddr("10.1.0.1")); err == nil {
		t.Error("a closed back end keeps a source")
	}
}
