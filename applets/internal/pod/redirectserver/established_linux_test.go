package redirectserver

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"
)

// Addresses of a host outside, and of another, which both are at the other end of a cable.
const hostA, hostB = "10.2.0.1", "10.2.0.3"

// connectHosts puts a network with both hosts beside the test's own.
func connectHosts(t *testing.T) netnstest.Namespace {
	t.Helper()
	outside := netnstest.New(t)
	run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", string(outside))
	run(t, "ip", "address", "add", "10.2.0.2/24", "dev", "eth0")
	run(t, "ip", "link", "set", "eth0", "up")
	for _, host := range []string{hostA, hostB} {
		outside.Run(t, "ip", "address", "add", host+"/24", "dev", "eth0")
	}
	outside.Run(t, "ip", "link", "set", "eth0", "up")
	return outside
}

// connectAsApplication has another process connect, and waits until it is.
func connectAsApplication(t *testing.T, host, port string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%s && echo connected && exec cat <&3", host, port))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "connected\n" {
		t.Fatalf("connect to %s:%s: %q, %v", host, port, line, err)
	}
}

// TestOutgoingEstablished counts and closes the outgoing connections that a redirect would have
// taken, and no others: not those to other hosts and ports, nor the manager's own.
func TestOutgoingEstablished(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	outside := connectHosts(t)
	ends := make(chan error, 100)
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait) // after those that end the connections
	for _, port := range []string{":5432", ":5433"} {
		outside.Serve(t, port, func(c net.Conn) {
			serving.Add(1)
			defer serving.Done()
			_, err := c.Read(make([]byte, 1))
			ends <- fmt.Errorf("%s: %w", c.LocalAddr(), err)
		})
	}

	for range 3 {
		connectAsApplication(t, hostA, "5432")
	}
	connectAsApplication(t, hostB, "5432")
	connectAsApplication(t, hostA, "5433")
	own, err := net.Dial("tcp", hostA+":5432")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })

	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	for i, c := range []struct {
		attach          wire.Attach
		stay, takenOver int
	}{
		{wire.Attach{Port: 5432}, 4, 0},
		{wire.Attach{Port: 5432, Host: hostA}, 3, 0},
		{wire.Attach{Port: 5432, Host: hostA, TakeOver: true}, 0, 3},
		{wire.Attach{Port: 5432, TakeOver: true}, 0, 1},
		{wire.Attach{Port: 5432}, 0, 0},
	} {
		c.attach.ID, c.attach.Outgoing = uint32(i), true
		var got wire.Attached
		if err := v.Call(t.Context(), wire.RequestAttach, c.attach, &got); err != nil || got.Established != c.stay || got.TakenOver != c.takenOver {
			t.Errorf("attach %+v: %d stay, %d closed, %v, want %d and %d", c.attach, got.Established, got.TakenOver, err, c.stay, c.takenOver)
		}
		if err := v.Call(t.Context(), wire.RequestDetach, wire.Detach{ID: c.attach.ID}, nil); err != nil {
			t.Fatal(err)
		}
	}

	for range 4 {
		select {
		case err := <-ends:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("a connection that was taken over ended with %v, want a reset", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a connection that was taken over is there still")
		}
	}
	select {
	case err := <-ends:
		t.Errorf("one connection too many was closed: %v", err)
	default:
	}
	if _, err := own.Write([]byte("x")); err != nil {
		t.Errorf("the manager's own connection: %v", err)
	}
}

// TestTakeOverSparesProbes closes established connections to a port, but for those that may be health
// probes.
func TestTakeOverSparesProbes(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	const caller, node = "10.1.0.77", "10.1.0.78"
	for _, address := range []string{caller, node} {
		run(t, "ip", "address", "add", address+"/32", "dev", "lo")
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	listenAt(t, podIPv4+":8081")
	conns := map[string]net.Conn{}
	for _, from := range []string{caller, node} {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", podIPv4+":8081")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		wantEcho(t, conn, "x")
		conns[from] = conn
	}

	var done wire.Attached
	request := wire.Attach{
		ID: 2, Port: 8081, TakeOver: true, Probes: []wire.Probe{healthz}, NodeAddresses: []netip.Addr{netip.MustParseAddr(node)},
	}
	if err := v.Call(t.Context(), wire.RequestAttach, request, &done); err != nil {
		t.Fatal(err)
	}
	if done.TakenOver == 0 || done.Established == 0 {
		t.Errorf("closed %d connections, %d stay, want some of each", done.TakenOver, done.Established)
	}
	if _, err := conns[node].Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	wantEcho(t, conns[node], "y")
	if got := greeting(conns[caller]); got != "reset" {
		t.Errorf("the other caller got %q, want a reset", got)
	}
}
