package integration

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/mux"
	"kdiag/mux/muxtest"
)

// TestRedirStrangers dials the manager's port from inside the pod: without the
// user's key nobody gets in, and the manager stays small.
func TestRedirStrangers(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)

	netns, pid := kit.FindPodNetwork(t, namespace, "app"), kit.FindNetManager(t, namespace)
	_, started := kit.ReadManagerLog(t, namespace)
	address := joinPort("127.0.0.1", started.Port)
	before := netns.Run(t, "nft", "list", "ruleset")

	for _, port := range []uint16{started.Port, started.OlderPort} {
		if _, err := kit.DialFrom(kit.NodeNetwork, joinPort(app, port)); err == nil {
			t.Errorf("the manager's port %d is open to others than the pod's loopback", port)
		}
	}

	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	verifyRefused := func(what string, send func(net.Conn) error) {
		t.Helper()
		conn := kit.OpenConnection(t, netns, address)
		kit.SetPatience(conn)
		if err := send(conn); err == nil {
			t.Errorf("%s: was let in", what)
		}
	}

	verifyRefused("a wrong key", func(conn net.Conn) error {
		session, err := mux.Client(t.Context(), conn, stranger, started.Key, mux.SessionOptions{})
		if err == nil {
			_ = session.Close()
		}
		return err
	})

	verifyRefused("no key", func(conn net.Conn) error {
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err != nil {
			return err
		}
		return readToEnd(client)
	})

	verifyRefused("no TLS", func(conn net.Conn) error {
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		return readToEnd(conn)
	})

	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	verifyRefused("random bytes", func(conn net.Conn) error {
		_, _ = io.Copy(conn, bytes.NewReader(noise))
		return readToEnd(conn)
	})

	// Many slow strangers send one byte, and no more.
	quiet := kit.ReadAnonymousMemory(t, pid)
	var slow []net.Conn
	for range 500 {
		conn := kit.OpenConnection(t, netns, address)
		_, _ = conn.Write([]byte("k"))
		slow = append(slow, conn)
	}

	if now := kit.ReadAnonymousMemory(t, pid); now > quiet+8<<10 {
		t.Errorf("500 slow strangers took the manager from %d to %d KiB", quiet, now)
	}

	// The user still gets in among them.
	second := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port)
	second.Interrupt()
	for _, conn := range slow {
		_ = conn.Close()
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	kit.WaitUntil(t, "the rules to be as before", func() bool { return netns.Run(t, "nft", "list", "ruleset") == before })
	redir.Interrupt()
}

// TestRedirAmongStrangers has 200 strangers a second dial the manager from inside
// the pod, from before the user comes. The user, 100 ms away, gets in every time;
// the manager stays small, and so does its log.
func TestRedirAmongStrangers(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	_, far := kit.StartDistantProxy(t, 100*time.Millisecond)
	args := append([]string{"-n", namespace, "app", "8080:" + here.Port}, far...)
	kit.StartRedirects(t, 1, args...).Interrupt()

	netns, pid := kit.FindPodNetwork(t, namespace, "app"), kit.FindNetManager(t, namespace)
	_, started := kit.ReadManagerLog(t, namespace)
	kinds, err := muxtest.Strangers(started.Key, func() []byte { return nil })
	if err != nil {
		t.Fatal(err)
	}

	quiet, highest := kit.ReadAnonymousMemory(t, pid), kit.FollowMemory(t, pid)
	stop := muxtest.Flood(200, kinds, func(older bool) (net.Conn, error) {
		port := started.Port
		if older {
			port = started.OlderPort
		}
		conn, err := kit.DialFrom(netns, joinPort("127.0.0.1", port))
		if err != nil {
			return nil, err
		}
		return conn, nil
	})

	t.Cleanup(func() { stop() })

	for range 10 {
		began := time.Now()
		redir := kit.StartRedirects(t, 1, args...)
		t.Logf("redirects after %s", time.Since(began).Round(time.Millisecond))
		kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
		redir.Interrupt()
	}

	many, most := stop(), highest()
	t.Logf("%d strangers; anonymous memory %d KiB before, %d KiB at most", many, quiet, most)
	if most > quiet+8<<10 {
		t.Errorf("%d strangers took the manager from %d to %d KiB", many, quiet, most)
	}
	if pidNow := kit.FindNetManager(t, namespace); pidNow != pid {
		t.Errorf("the manager is process %d, was %d", pidNow, pid)
	}

	if log, now := kit.ReadManagerLog(t, namespace); len(log) > 64<<10 || now != started {
		t.Errorf("the log has %d bytes, and begins %.200q", len(log), log)
	}
}

// readToEnd reads until the other side ends the connection, which is an error too.
func readToEnd(conn net.Conn) error {
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return err
	}
	return io.EOF
}

// joinPort returns the address of a port.
func joinPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
