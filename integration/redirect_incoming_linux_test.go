package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"kdiag/integration/kit"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRedirIncoming takes connections from outside and over lo, and gives them
// back without a trace in the kernel.
func TestRedirIncoming(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")
	before := netns.Run(t, "nft", "list", "ruleset")

	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, "127.0.0.1:8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, kit.FindPodNetwork(t, namespace, "other"), app+":8080", kit.FromLaptop)
	e := r.WaitForEvent("close")
	if e.Redirect != "8080" || e.Destination != app+":8080" || e.Received == 0 || e.Sent == 0 {
		t.Errorf("event = %+v", e)
	}

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", kit.FindNetManager(t, namespace)))
	// CAP_NET_ADMIN is bit 12 (capabilities(7)).
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000001000\n") {
		t.Errorf("the manager's capabilities: %s, %v, want NET_ADMIN alone", status, err)
	}
	if rules := netns.Run(t, "nft", "list", "ruleset"); !strings.Contains(rules, "table inet kdiag_") {
		t.Errorf("rules while redirecting: %s", rules)
	}

	r.Interrupt()
	if r.Code != 0 {
		t.Errorf("after Ctrl-C: code %d, %s", r.Code, r.Stderr)
	}
	if e := r.WaitForEvent("summary"); e.Connections != 4 {
		t.Errorf("summary = %+v, want 4 connections", e)
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
	kit.VerifyAnswer(t, netns, "127.0.0.1:8080", kit.FromApp)
	kit.WaitUntil(t, "the rules to go", func() bool { return netns.Run(t, "nft", "list", "ruleset") == before })
	if restarts := kit.RunKubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the pod restarted %s times", restarts)
	}
}

// TestRedirLiveConnections attaches and detaches under live connections: none
// may break.
func TestRedirLiveConnections(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	address := app + ":7000"
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		// Not the same as the application's, so that it is known who answers.
		buffer := make([]byte, 1<<10)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			_, _ = conn.Write(bytes.ToUpper(buffer[:n]))
		}
	})

	const many = 100
	old := kit.OpenConnections(t, many, address)
	r := kit.StartRedir(t, nil, "-n", namespace, "app", "7000:"+here.Port, "--drain=30s")
	if e := r.WaitForEvent("redirect"); e.Established != many {
		t.Errorf("%d established connections were told, want %d", e.Established, many)
	}

	for i, conn := range old {
		if err := kit.ExchangeText(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d after attach: %v", i, err)
		}
	}

	redirected := make([]*net.TCPConn, many)
	for i := range redirected {
		conn, err := kit.DialFrom(kit.NodeNetwork, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		redirected[i] = conn
		if err := kit.ExchangeText(conn, "THE LAPTOP"); err != nil {
			t.Fatal(err)
		}
	}

	_ = r.Cmd.Process.Signal(syscall.SIGINT)
	r.WaitForEvent("draining")
	kit.WaitUntil(t, "new connections to reach the application", func() bool {
		conn, err := kit.DialFrom(kit.NodeNetwork, address)
		if err != nil {
			return false
		}
		defer conn.Close()
		return kit.ExchangeText(conn, "the app") == nil
	})

	for i, conn := range redirected {
		if err := kit.ExchangeText(conn, "STILL THE LAPTOP"); err != nil {
			t.Fatalf("redirected connection %d after detach: %v", i, err)
		}
		_ = conn.CloseWrite()
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatalf("end of redirected connection %d: %v", i, err)
		}
	}

	r.WaitForEnd()
	if r.Code != 0 {
		t.Errorf("code %d, %s", r.Code, r.Stderr)
	}

	for i, conn := range old {
		if err := kit.ExchangeText(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d in the end: %v", i, err)
		}
	}
}

// TestRedirTakeOver closes the established ones, so that clients come again.
func TestRedirTakeOver(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.EchoBack)
	old := kit.OpenConnections(t, 10, app+":7000")
	r := kit.StartRedir(t, nil, "-n", namespace, "app", "7000:"+here.Port, "--take-over")
	if e := r.WaitForEvent("redirect"); e.TakenOver != 10 || e.Established != 0 {
		t.Errorf("event = %+v, want 10 taken over", e)
	}

	for _, conn := range old {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read of a connection that was taken over: %v, want a reset", err)
		}
	}

	r.Interrupt()
}

// TestRedirProxyProtocol tells the program here who called.
func TestRedirProxyProtocol(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	header := make(chan []byte, 1)
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		got := make([]byte, 28)
		_, _ = io.ReadFull(conn, got)
		header <- got
	})

	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "--proxy-protocol=v2")
	conn, err := kit.DialFrom(kit.NodeNetwork, app+":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	from, _ := conn.LocalAddr().(*net.TCPAddr)
	// haproxy.org, doc/proxy-protocol.txt, 2.2: signature, 2.1, TCP over IPv4, 12 bytes.
	want := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(from.IP.To4()) + string(net.ParseIP(app).To4()) +
		string([]byte{byte(from.Port >> 8), byte(from.Port), 7000 >> 8, 7000 & 0xff})
	if got := <-header; string(got) != want {
		t.Errorf("header = %q, want %q", got, want)
	}

	_ = conn.Close()
	r.Interrupt()
}
