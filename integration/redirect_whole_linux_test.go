package integration

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/netfilter/netnstest"
)

// TestRedirWhole uploads 64 MiB, half-closes the connection, and gets 1 MiB back.
func TestRedirWhole(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	const up, down = 64 << 20, 1 << 20
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		if n, err := io.Copy(io.Discard, conn); err != nil || n != up {
			t.Errorf("upload: %d bytes, %v", n, err)
		}
		_, _ = conn.Write(bytes.Repeat([]byte("r"), down))
	})

	for name, c := range map[string]struct {
		args    []string
		netns   netnstest.Namespace
		address string
	}{
		"incoming": {[]string{"7000:" + here.Port}, kit.NodeNetwork, app + ":7000"},
		"outgoing": {[]string{"--outgoing", "7000:" + here.Port}, kit.FindPodNetwork(t, namespace, "app"), other + ":7000"},
	} {
		t.Run(name, func(t *testing.T) {
			redir := kit.StartRedirects(t, 1, append([]string{"-n", namespace, "app"}, c.args...)...)
			conn := kit.OpenConnection(t, c.netns, c.address)
			if _, err := conn.Write(make([]byte, up)); err != nil {
				t.Fatal(err)
			}
			_ = conn.CloseWrite()

			got, err := io.ReadAll(conn)
			if err != nil || len(got) != down {
				t.Errorf("reply after the half-close: %d bytes, %v, want %d", len(got), err, down)
			}
			if e := redir.WaitForEvent("close"); e.Received != up || e.Sent != down || e.Error != "" {
				t.Errorf("event = %+v", e)
			}

			redir.Interrupt()
		})
	}
}

// TestRedirReset carries a reset by either side to the other.
func TestRedirReset(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	seen := make(chan error, 1)
	here := kit.StartLocalServer(t, func(conn *net.TCPConn) {
		defer conn.Close()
		word := make([]byte, 5)
		_, _ = io.ReadFull(conn, word)
		if string(word) == "reset" {
			_ = conn.SetLinger(0)
			return
		}

		_, _ = conn.Write(word)
		_, err := io.Copy(io.Discard, conn)
		seen <- err
	})

	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port)
	for range 20 {
		conn := kit.OpenConnection(t, kit.NodeNetwork, app+":7000")
		_, _ = io.WriteString(conn, "reset")
		kit.SetPatience(conn)
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the laptop's reset came as %v", err)
		}
		_ = conn.Close()

		conn = kit.OpenConnections(t, 1, app+":7000", "hello")[0]
		_ = conn.SetLinger(0)
		_ = conn.Close()
		select {
		case err := <-seen:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the caller's reset came as %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the caller's reset did not come")
		}
	}

	redir.Interrupt()
}

// TestRedirRefused resets the caller's connection where no program listens on the
// laptop, tells the user, and goes on.
func TestRedirRefused(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	gone := kit.StartLocalServer(t, kit.EchoBytes)
	_ = gone.Close()
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 2, "-n", namespace, "app", "7000:"+gone.Port, "8080:"+here.Port)
	conn := kit.OpenConnection(t, kit.NodeNetwork, app+":7000")
	kit.SetPatience(conn)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read = %v, want a reset", err)
	}
	if e := redir.WaitForEvent("refused"); e.Redirect != "7000" || e.Error != "nothing listens on localhost:"+gone.Port {
		t.Errorf("event = %+v", e)
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
}

// TestRedirWithoutWebSocket redirects through a proxy that knows no WebSocket.
func TestRedirWithoutWebSocket(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	proxy := kit.StartOldProxy(t)
	through := proxy.Flags(kit.CreateAdminToken(t, namespace))
	redir := kit.StartRedirects(t, 1, append([]string{"-n", namespace, "app", "8080:" + here.Port}, through...)...)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
	proxy.VerifyFellBack(t)
}
