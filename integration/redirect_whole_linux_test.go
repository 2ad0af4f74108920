package integration

import (
	"bytes"
	"errors"
	"io"
	"kdiag/integration/kit"
	"kdiag/netfilter/netnstest"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestRedirWhole uploads 64 MiB, half-closes and gets 1 MiB back.
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
			r := kit.StartRedirects(t, 1, append([]string{"-n", namespace, "app"}, c.args...)...)
			conn, err := kit.DialFrom(c.netns, c.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()

			if _, err := conn.Write(make([]byte, up)); err != nil {
				t.Fatal(err)
			}

			_ = conn.CloseWrite()
			got, err := io.ReadAll(conn)
			if err != nil || len(got) != down {
				t.Errorf("reply after the half-close: %d bytes, %v, want %d", len(got), err, down)
			}
			if e := r.WaitForEvent("close"); e.Received != up || e.Sent != down || e.Error != "" {
				t.Errorf("event = %+v", e)
			}

			r.Interrupt()
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

	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port)
	for range 20 {
		conn, err := kit.DialFrom(kit.NodeNetwork, app+":7000")
		if err != nil {
			t.Fatal(err)
		}

		_, _ = io.WriteString(conn, "reset")
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the laptop's reset came as %v", err)
		}

		_ = conn.Close()

		if conn, err = kit.DialFrom(kit.NodeNetwork, app+":7000"); err != nil {
			t.Fatal(err)
		}
		if err := kit.ExchangeText(conn, "hello"); err != nil {
			t.Fatal(err)
		}

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

	r.Interrupt()
}

// TestRedirRefused has no program on the laptop: the caller gets a reset at
// once, the user a line, and the session goes on.
func TestRedirRefused(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	gone := kit.StartLocalServer(t, kit.EchoBack)
	_ = gone.Close()
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	r := kit.StartRedirects(t, 2, "-n", namespace, "app", "7000:"+gone.Port, "8080:"+here.Port)
	conn, err := kit.DialFrom(kit.NodeNetwork, app+":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read = %v, want a reset", err)
	}
	if e := r.WaitForEvent("refused"); e.Redirect != "7000" || e.Error != "nothing listens on localhost:"+gone.Port {
		t.Errorf("event = %+v", e)
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	r.Interrupt()
}

// TestRedirWithoutWebSocket goes through a proxy that knows no WebSocket.
func TestRedirWithoutWebSocket(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	old, refused, spdy := kit.StartProxyWithoutWebSocket(t)
	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port,
		"--kubeconfig="+os.DevNull, "--server="+old, "--insecure-skip-tls-verify", "--token="+kit.CreateAdminToken(t, namespace))
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	r.Interrupt()
	if refused.Load() == 0 || spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", refused.Load(), spdy.Load())
	}
}
