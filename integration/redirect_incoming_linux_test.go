package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirIncoming redirects connections from outside the pod and over its lo, and
// leaves no trace in the kernel.
func TestRedirIncoming(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")
	before := netns.Run(t, "nft", "list", "ruleset")

	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, "127.0.0.1:8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, kit.FindPodNetwork(t, namespace, "other"), app+":8080", kit.FromLaptop)
	e := redir.WaitForEvent("close")
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

	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("after Ctrl-C: %v", got)
	}
	if e := redir.WaitForEvent("summary"); e.Connections != 4 {
		t.Errorf("summary = %+v, want 4 connections", e)
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
	kit.VerifyAnswer(t, netns, "127.0.0.1:8080", kit.FromApp)
	kit.WaitUntil(t, "the rules to go", func() bool { return netns.Run(t, "nft", "list", "ruleset") == before })

	if restarts := kit.ReadPodField(t, namespace, "app", "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the pod restarted %s times", restarts)
	}
}

// TestRedirLiveConnections starts and ends a redirect while connections are open:
// none of them breaks.
func TestRedirLiveConnections(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	address := app + ":7000"
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		// Upper case tells the laptop's answers from the application's.
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
	old := kit.OpenConnections(t, many, address, "hello")
	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "7000:"+here.Port, "--drain=30s")
	if e := redir.WaitForEvent("redirect"); e.Established != many {
		t.Errorf("%d established connections were told, want %d", e.Established, many)
	}

	for i, conn := range old {
		if err := kit.ExchangeText(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d after attach: %v", i, err)
		}
	}

	redirected := kit.OpenConnections(t, many, address, "THE LAPTOP")
	redir.Signal(syscall.SIGINT)
	redir.WaitForEvent("draining")
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

	if got := redir.WaitForEnd(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}

	for i, conn := range old {
		if err := kit.ExchangeText(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d in the end: %v", i, err)
		}
	}
}

// TestRedirTakeOver closes established connections, so that clients reconnect.
func TestRedirTakeOver(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	old := kit.OpenConnections(t, 10, app+":7000", "hello")
	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "7000:"+here.Port, "--take-over")
	if e := redir.WaitForEvent("redirect"); e.TakenOver != 10 || e.Established != 0 {
		t.Errorf("event = %+v, want 10 taken over", e)
	}

	for _, conn := range old {
		kit.SetPatience(conn)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read of a connection that was taken over: %v, want a reset", err)
		}
	}

	redir.Interrupt()
}

// TestRedirProxyProtocol tells the program on the laptop who the caller is.
func TestRedirProxyProtocol(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	header := make(chan []byte, 1)
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		got := make([]byte, 28)
		_, _ = io.ReadFull(conn, got)
		header <- got
	})

	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "--proxy-protocol=v2")
	conn := kit.OpenConnection(t, kit.NodeNetwork, app+":7000")
	from, _ := conn.LocalAddr().(*net.TCPAddr)
	// haproxy.org, doc/proxy-protocol.txt, 2.2: signature, 2.1, TCP over IPv4, 12 bytes.
	want := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(from.IP.To4()) + string(net.ParseIP(app).To4()) +
		string([]byte{byte(from.Port >> 8), byte(from.Port), 7000 >> 8, 7000 & 0xff})
	if got := <-header; string(got) != want {
		t.Errorf("header = %q, want %q", got, want)
	}

	_ = conn.Close()
	redir.Interrupt()
}
