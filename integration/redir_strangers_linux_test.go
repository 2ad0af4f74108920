package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
)

// startedOf is what a pod's net manager printed.
func startedOf(t *testing.T, namespace, pod string) wire.Ready {
	t.Helper()
	name := kubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.spec.ephemeralContainers[0].name}")
	var started wire.Ready
	line, _, _ := strings.Cut(kubectl(t, "logs", "-n", namespace, pod, "-c", name), "\n")
	if err := json.Unmarshal([]byte(line), &started); err != nil {
		t.Fatalf("first line of the log %q: %v", line, err)
	}
	return started
}

// TestRedirStrangers has others in the pod dial the manager's port: without
// the user's key nobody gets in, and the manager stays small.
func TestRedirStrangers(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	netns, pid, started := podNetns(t, namespace, "app"), netManager(t, namespace), startedOf(t, namespace, "app")
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(started.Port)))
	before := netns.Run(t, "nft", "list", "ruleset")

	for _, port := range []uint16{started.Port, started.OlderPort} {
		if _, err := dialFrom(nodeNetns, net.JoinHostPort(app, strconv.Itoa(int(port)))); err == nil {
			t.Errorf("the manager's port %d is open to others than the pod's loopback", port)
		}
	}

	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	refused := func(what string, send func(net.Conn) error) {
		t.Helper()
		conn, err := dialFrom(netns, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if err := send(conn); err == nil {
			t.Errorf("%s: was let in", what)
		}
	}

	ended := func(conn net.Conn) error {
		_, err := io.Copy(io.Discard, conn)
		if err == nil {
			err = io.EOF
		}
		return err
	}

	refused("a wrong key", func(conn net.Conn) error {
		session, err := mux.Client(t.Context(), conn, stranger, started.Key, mux.Options{})
		if err == nil {
			_ = session.Close()
		}
		return err
	})

	refused("no key", func(conn net.Conn) error {
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err != nil {
			return err
		}
		return ended(client)
	})

	refused("no TLS", func(conn net.Conn) error { _, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); return ended(conn) })
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	refused("random bytes", func(conn net.Conn) error { _, _ = io.Copy(conn, bytes.NewReader(noise)); return ended(conn) })

	// Slow ones: many that say one byte, and no more.
	quiet := anonymous(t, pid)
	var slow []net.Conn
	for range 500 {
		conn, err := dialFrom(netns, address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("k"))
		slow = append(slow, conn)
	}

	if now := anonymous(t, pid); now > quiet+8<<10 {
		t.Errorf("500 slow strangers took the manager from %d to %d KiB", quiet, now)
	}

	// The user still gets in among them.
	second := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port)
	second.interrupt()
	for _, conn := range slow {
		_ = conn.Close()
	}

	wants(t, nodeNetns, app+":8080", fromLaptop)
	eventually(t, "the rules to be as before", func() bool { return netns.Run(t, "nft", "list", "ruleset") == before })
	r.interrupt()
}

// TestRedirAmongStrangers has 200 strangers a second dial the manager from
// inside the pod, begun before the user and kept up. The user, 100 ms away, gets
// in every time; the manager stays small, and so does its log.
func TestRedirAmongStrangers(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	_, far := newFarProxy(t, 100*time.Millisecond)
	args := append([]string{"-n", namespace, "app", "8080:" + here.port}, far...)
	redirecting(t, 1, args...).interrupt()

	netns, pid, started := podNetns(t, namespace, "app"), netManager(t, namespace), startedOf(t, namespace, "app")
	kinds, err := muxtest.Strangers(started.Key, func() []byte { return nil })
	if err != nil {
		t.Fatal(err)
	}

	quiet, highest := anonymous(t, pid), peak(t, pid)
	stop := muxtest.Flood(200, kinds, func(older bool) (net.Conn, error) {
		port := started.Port
		if older {
			port = started.OlderPort
		}
		conn, err := dialFrom(netns, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err != nil {
			return nil, err
		}
		return conn, nil
	})

	t.Cleanup(func() { stop() })

	for range 10 {
		began := time.Now()
		r := redirecting(t, 1, args...)
		t.Logf("redirects after %s", time.Since(began).Round(time.Millisecond))
		wants(t, nodeNetns, app+":8080", fromLaptop)
		r.interrupt()
	}

	many, most := stop(), highest()
	t.Logf("%d strangers; anonymous memory %d KiB before, %d KiB at most", many, quiet, most)
	if most > quiet+8<<10 {
		t.Errorf("%d strangers took the manager from %d to %d KiB", many, quiet, most)
	}
	if pidNow := netManager(t, namespace); pidNow != pid {
		t.Errorf("the manager is process %d, was %d", pidNow, pid)
	}

	name := kubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.spec.ephemeralContainers[0].name}")
	if log := kubectl(t, "logs", "-n", namespace, "app", "-c", name); len(log) > 64<<10 || startedOf(t, namespace, "app") != started {
		t.Errorf("the log has %d bytes, and begins %.200q", len(log), log)
	}
}
