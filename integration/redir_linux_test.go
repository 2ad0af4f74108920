package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/netfilter/netnstest"
)

// laptop is a program of the developer's, listening on loopback.
type laptop struct {
	net.Listener
	port string
}

// newLaptop serves each connection with handle, in a goroutine of its own.
func newLaptop(t *testing.T, handle func(*net.TCPConn)) *laptop {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tcp, _ := conn.(*net.TCPConn)
			go handle(tcp)
		}
	}()

	return &laptop{listener, port}
}

// echoing sends back what comes, and its end.
func echoing(conn *net.TCPConn) {
	defer conn.Close()
	_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

// saying writes a word and closes.
func saying(word string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		defer conn.Close()
		_, _ = io.WriteString(conn, word)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// redirEvent is a line of "redir -o json".
type redirEvent struct {
	Event, Redirect, Local, Backend, Source, Destination, Error string
	Established, TakenOver                                      int
	Addresses                                                   []string
	Received, Sent, Connections, Refused                        int64
}

// redir is a running "kdiag redir".
type redir struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan redirEvent
	stderr *lockedBuffer
	ended  chan struct{}
	code   int
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// startRedir starts one with more environment.
func startRedir(t *testing.T, env []string, args ...string) *redir {
	t.Helper()
	r := &redir{t: t, events: make(chan redirEvent, 100000), stderr: &lockedBuffer{}, ended: make(chan struct{})}
	r.cmd = exec.Command(shared.binary(), append([]string{"redir", "-o", "json"}, args...)...)
	r.cmd.Env, r.cmd.Stderr = shared.env(env...), r.stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var e redirEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				r.events <- e
			}
		}

		close(r.events)
		_ = r.cmd.Wait()
		r.code = r.cmd.ProcessState.ExitCode()
		close(r.ended)
	}()

	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
	})
	return r
}

// redirecting starts one and waits until all of its redirects hold.
func redirecting(t *testing.T, redirects int, args ...string) *redir {
	t.Helper()
	r := startRedir(t, nil, args...)
	for range redirects {
		r.await("redirect")
	}
	return r
}

// await waits for the next event of a kind.
func (r *redir) await(kind string) redirEvent {
	r.t.Helper()
	limit := time.After(90 * time.Second)
	for {
		select {
		case e, open := <-r.events:
			if !open {
				<-r.ended
				r.t.Fatalf("redir ended with code %d before an event %q: %s", r.code, kind, r.stderr)
			}
			if e.Event == kind {
				return e
			}
		case <-limit:
			r.t.Fatalf("still waiting for an event %q: %s", kind, r.stderr)
		}
	}
}

// interrupt is Ctrl-C, and waits for the end.
func (r *redir) interrupt() {
	r.t.Helper()
	_ = r.cmd.Process.Signal(syscall.SIGINT)
	r.awaitEnd()
}

func (r *redir) awaitEnd() {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(90 * time.Second):
		r.t.Fatal("redir does not end")
	}
}

// redirPods is a namespace of a test's own with the pods of redir.yaml, and
// their addresses.
func redirPods(t *testing.T) (namespace, app, other string) {
	t.Helper()
	onNode(t)
	namespace = newNamespace(t)
	apply(t, namespace, manifest(t, "redir.yaml"))
	waitForPods(t, namespace)
	ip := func(pod string) string {
		return kubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.podIP}")
	}
	return namespace, ip("app"), ip("other")
}

// get asks an address for / from a network namespace, with a connection of its
// own.
func get(netns netnstest.Namespace, address string) (string, error) {
	conn, err := dialFrom(netns, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}

	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// wants fails a test unless an address answers with a text.
func wants(t *testing.T, netns netnstest.Namespace, address, text string) {
	t.Helper()
	if got, err := get(netns, address); err != nil || !strings.Contains(got, text) {
		t.Errorf("GET %s = %q, %v, want %q", address, got, err, text)
	}
}

const (
	fromLaptop = "from the laptop"
	fromApp    = "sample app on app"
)

// answering is an HTTP server for one request.
func answering(conn *net.TCPConn) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(fromLaptop), fromLaptop)
		_ = request.Body.Close()
	}
}

// TestRedirIncoming takes connections from outside and over lo, and gives them
// back without a trace in the kernel.
func TestRedirIncoming(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	netns := podNetns(t, namespace, "app")
	before := netns.Run(t, "nft", "list", "ruleset")

	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	wants(t, nodeNetns, app+":8080", fromLaptop)
	wants(t, netns, "127.0.0.1:8080", fromLaptop)
	wants(t, netns, app+":8080", fromLaptop)
	wants(t, podNetns(t, namespace, "other"), app+":8080", fromLaptop)
	e := r.await("close")
	if e.Redirect != "8080" || e.Destination != app+":8080" || e.Received == 0 || e.Sent == 0 {
		t.Errorf("event = %+v", e)
	}

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", netManager(t, namespace)))
	// CAP_NET_ADMIN is bit 12 (capabilities(7)).
	if err != nil || !strings.Contains(string(status), "CapEff:\t0000000000001000\n") {
		t.Errorf("the manager's capabilities: %s, %v, want NET_ADMIN alone", status, err)
	}
	if rules := netns.Run(t, "nft", "list", "ruleset"); !strings.Contains(rules, "table inet kdiag_") {
		t.Errorf("rules while redirecting: %s", rules)
	}

	r.interrupt()
	if r.code != 0 {
		t.Errorf("after Ctrl-C: code %d, %s", r.code, r.stderr)
	}
	if e := r.await("summary"); e.Connections != 4 {
		t.Errorf("summary = %+v, want 4 connections", e)
	}

	wants(t, nodeNetns, app+":8080", fromApp)
	wants(t, netns, "127.0.0.1:8080", fromApp)
	eventually(t, "the rules to go", func() bool { return netns.Run(t, "nft", "list", "ruleset") == before })
	if restarts := kubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the pod restarted %s times", restarts)
	}
}

// TestRedirOutgoing takes connections that leave the pod.
func TestRedirOutgoing(t *testing.T) {
	namespace, app, other := redirPods(t)
	here := newLaptop(t, answering)
	netns := podNetns(t, namespace, "app")
	t.Run("by port", func(t *testing.T) {
		r := redirecting(t, 1, "-n", namespace, "app", "--outgoing", "8080:"+here.port)
		wants(t, netns, other+":8080", fromLaptop)
		wants(t, netns, "192.0.2.9:8080", fromLaptop) // nobody has it
		wants(t, netns, "127.0.0.1:8080", fromApp)
		wants(t, nodeNetns, app+":8080", fromApp)
		if e := r.await("close"); e.Destination != other+":8080" || e.Redirect != "outgoing 8080" {
			t.Errorf("event = %+v", e)
		}
		r.interrupt()
		wants(t, netns, other+":8080", "sample app on other")
	})

	t.Run("by name", func(t *testing.T) {
		r := startRedir(t, nil, "-n", namespace, "app", "--outgoing", "db.prod.svc:8080=localhost:"+here.port)
		if e := r.await("redirect"); len(e.Addresses) != 1 || e.Addresses[0] != "192.0.2.7" {
			t.Errorf("event = %+v, want the name's address in the pod", e)
		}
		wants(t, netns, "192.0.2.7:8080", fromLaptop)
		wants(t, netns, other+":8080", "sample app on other")
		r.interrupt()
	})

	t.Run("a name that moves", func(t *testing.T) {
		// The kubelet's file behind the pod's /etc/hosts.
		uid := kubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.metadata.uid}")
		hosts := filepath.Join(shared.root, ".cluster/kubelet/pods", uid, "etc-hosts")
		text, err := os.ReadFile(hosts)
		if err != nil {
			t.Fatal(err)
		}

		r := redirecting(t, 1, "-n", namespace, "app", "--outgoing", "db.prod.svc:8080=localhost:"+here.port)
		if err := os.WriteFile(hosts, bytes.ReplaceAll(text, []byte("192.0.2.7"), []byte("192.0.2.8")), 0o644); err != nil {
			t.Fatal(err)
		}
		if e := r.await("moved"); len(e.Addresses) != 1 || e.Addresses[0] != "192.0.2.8" {
			t.Errorf("event = %+v, want the new address", e)
		}

		wants(t, netns, "192.0.2.8:8080", fromLaptop)
		r.interrupt()
	})

	t.Run("a name nobody has", func(t *testing.T) {
		r := startRedir(t, nil, "-n", namespace, "app", "--outgoing", "nobody.invalid:8080")
		r.awaitEnd()
		if r.code != 1 || !strings.Contains(r.stderr.String(), "resolve nobody.invalid in the pod") {
			t.Errorf("code %d, %s", r.code, r.stderr)
		}
	})

	t.Run("not the API server", func(t *testing.T) {
		service := kubectl(t, "get", "service", "-n", "default", "kubernetes", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
		_, port, _ := strings.Cut(service, ":")
		r := redirecting(t, 1, "-n", namespace, "app", "--outgoing", port+":"+here.port)
		wants(t, netns, "192.0.2.9:"+port, fromLaptop)
		if got, err := get(netns, service); err == nil && strings.Contains(got, fromLaptop) {
			t.Errorf("the API server's traffic was taken: %q", got)
		}

		r.interrupt()
		r = redirecting(t, 1, "-n", namespace, "app", "--outgoing", service+"="+here.port)
		wants(t, netns, service, fromLaptop)
		r.interrupt()
	})
}

// exchange sends bytes one way and the other through a live connection.
func exchange(conn *net.TCPConn, words string) error {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, words); err != nil {
		return err
	}

	got := make([]byte, len(words))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != words {
		return fmt.Errorf("got %q, want %q", got, words)
	}

	return nil
}

// live opens connections that stay.
func live(t *testing.T, n int, address string) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conn, err := dialFrom(nodeNetns, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
		if err := exchange(conn, "hello"); err != nil {
			t.Fatal(err)
		}
	}

	return conns
}

// TestRedirLiveConnections attaches and detaches under live connections: none
// may break.
func TestRedirLiveConnections(t *testing.T) {
	namespace, app, _ := redirPods(t)
	address := app + ":7000"
	here := newLaptop(t, func(conn *net.TCPConn) {
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
	old := live(t, many, address)
	r := startRedir(t, nil, "-n", namespace, "app", "7000:"+here.port, "--drain=30s")
	if e := r.await("redirect"); e.Established != many {
		t.Errorf("%d established connections were told, want %d", e.Established, many)
	}

	for i, conn := range old {
		if err := exchange(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d after attach: %v", i, err)
		}
	}

	redirected := make([]*net.TCPConn, many)
	for i := range redirected {
		conn, err := dialFrom(nodeNetns, address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		redirected[i] = conn
		if err := exchange(conn, "THE LAPTOP"); err != nil {
			t.Fatal(err)
		}
	}

	_ = r.cmd.Process.Signal(syscall.SIGINT)
	r.await("draining")
	eventually(t, "new connections to reach the application", func() bool {
		conn, err := dialFrom(nodeNetns, address)
		if err != nil {
			return false
		}
		defer conn.Close()
		return exchange(conn, "the app") == nil
	})

	for i, conn := range redirected {
		if err := exchange(conn, "STILL THE LAPTOP"); err != nil {
			t.Fatalf("redirected connection %d after detach: %v", i, err)
		}
		_ = conn.CloseWrite()
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatalf("end of redirected connection %d: %v", i, err)
		}
	}

	r.awaitEnd()
	if r.code != 0 {
		t.Errorf("code %d, %s", r.code, r.stderr)
	}

	for i, conn := range old {
		if err := exchange(conn, "still the app"); err != nil {
			t.Fatalf("established connection %d in the end: %v", i, err)
		}
	}
}

// TestRedirTakeOver closes the established ones, so that clients come again.
func TestRedirTakeOver(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, echoing)
	old := live(t, 10, app+":7000")
	r := startRedir(t, nil, "-n", namespace, "app", "7000:"+here.port, "--take-over")
	if e := r.await("redirect"); e.TakenOver != 10 || e.Established != 0 {
		t.Errorf("event = %+v, want 10 taken over", e)
	}

	for _, conn := range old {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read of a connection that was taken over: %v, want a reset", err)
		}
	}

	r.interrupt()
}

// TestRedirWhole uploads 64 MiB, half-closes and gets 1 MiB back.
func TestRedirWhole(t *testing.T) {
	namespace, app, other := redirPods(t)
	const up, down = 64 << 20, 1 << 20
	here := newLaptop(t, func(conn *net.TCPConn) {
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
		"incoming": {[]string{"7000:" + here.port}, nodeNetns, app + ":7000"},
		"outgoing": {[]string{"--outgoing", "7000:" + here.port}, podNetns(t, namespace, "app"), other + ":7000"},
	} {
		t.Run(name, func(t *testing.T) {
			r := redirecting(t, 1, append([]string{"-n", namespace, "app"}, c.args...)...)
			conn, err := dialFrom(c.netns, c.address)
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
			if e := r.await("close"); e.Received != up || e.Sent != down || e.Error != "" {
				t.Errorf("event = %+v", e)
			}

			r.interrupt()
		})
	}
}

// TestRedirReset carries a reset by either side to the other.
func TestRedirReset(t *testing.T) {
	namespace, app, _ := redirPods(t)
	seen := make(chan error, 1)
	here := newLaptop(t, func(conn *net.TCPConn) {
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

	r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port)
	for range 20 {
		conn, err := dialFrom(nodeNetns, app+":7000")
		if err != nil {
			t.Fatal(err)
		}

		_, _ = io.WriteString(conn, "reset")
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the laptop's reset came as %v", err)
		}

		_ = conn.Close()

		if conn, err = dialFrom(nodeNetns, app+":7000"); err != nil {
			t.Fatal(err)
		}
		if err := exchange(conn, "hello"); err != nil {
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

	r.interrupt()
}

// TestRedirRefused has no program on the laptop: the caller gets a reset at
// once, the user a line, and the session goes on.
func TestRedirRefused(t *testing.T) {
	namespace, app, _ := redirPods(t)
	gone := newLaptop(t, echoing)
	_ = gone.Close()
	here := newLaptop(t, answering)
	r := redirecting(t, 2, "-n", namespace, "app", "7000:"+gone.port, "8080:"+here.port)
	conn, err := dialFrom(nodeNetns, app+":7000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read = %v, want a reset", err)
	}
	if e := r.await("refused"); e.Redirect != "7000" || e.Error != "nothing listens on localhost:"+gone.port {
		t.Errorf("event = %+v", e)
	}

	wants(t, nodeNetns, app+":8080", fromLaptop)
	r.interrupt()
}

// TestRedirProxyProtocol tells the program here who called.
func TestRedirProxyProtocol(t *testing.T) {
	namespace, app, _ := redirPods(t)
	header := make(chan []byte, 1)
	here := newLaptop(t, func(conn *net.TCPConn) {
		defer conn.Close()
		got := make([]byte, 28)
		_, _ = io.ReadFull(conn, got)
		header <- got
	})

	r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port, "--proxy-protocol=v2")
	conn, err := dialFrom(nodeNetns, app+":7000")
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
	r.interrupt()
}

// TestRedirEveryPort takes what the pod listens on when no port is named, and
// with -c what that container does.
func TestRedirEveryPort(t *testing.T) {
	namespace, _, _ := redirPods(t)
	for _, args := range [][]string{nil, {"-c", "app"}} {
		r := startRedir(t, nil, append([]string{"-n", namespace, "app"}, args...)...)
		ports := map[string]string{}
		for range 2 {
			e := r.await("redirect")
			ports[e.Redirect] = e.Local
		}
		if len(ports) != 2 || ports["8080"] != "localhost:8080" || ports["7000"] != "localhost:7000" {
			t.Errorf("redirects %v = %v, want 7000 and 8080", args, ports)
		}
		r.interrupt()
	}
}

// TestRedirHeld tells the second one who holds a port: of the same user, and
// of another one.
func TestRedirHeld(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	host, _ := os.Hostname()
	for name, env := range map[string][]string{"same user": nil, "another user": {"XDG_CONFIG_HOME=" + t.TempDir()}} {
		second := startRedir(t, env, "-n", namespace, "app", "8080:1")
		second.awaitEnd()
		if second.code != 1 || !strings.Contains(second.stderr.String(), "port 8080 is redirected already, by ") || !strings.Contains(second.stderr.String(), "@"+host) {
			t.Errorf("%s: code %d, %s", name, second.code, second.stderr)
		}
	}

	wants(t, nodeNetns, app+":8080", fromLaptop)
	// Another port of the same pod is free.
	second := startRedir(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "-n", namespace, "app", "7000:"+here.port)
	second.await("redirect")
	second.interrupt()
	r.interrupt()
}

// TestRedirWithoutWebSocket goes through a proxy that knows no WebSocket.
func TestRedirWithoutWebSocket(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	old, refused, spdy := noWebSocket(t)
	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port,
		"--kubeconfig="+os.DevNull, "--server="+old, "--insecure-skip-tls-verify", "--token="+token(t, namespace))
	wants(t, nodeNetns, app+":8080", fromLaptop)
	r.interrupt()
	if refused.Load() == 0 || spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", refused.Load(), spdy.Load())
	}
}

// TestRedirOnTerminal is what a user sees: a line for each redirect and
// connection, the counters below them, and how it went.
func TestRedirOnTerminal(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	x := newTerminal(t)
	x.line(shared.binary() + " redir -n " + namespace + " app 8080:" + here.port)
	x.await("8080 → localhost:" + here.port + " (nft)")
	x.await("0 open, 0 in all")
	wants(t, nodeNetns, app+":8080", fromLaptop)
	x.await("→ 8080  18 B in, ")
	x.await("0 open, 1 in all")
	x.keys("C-c")
	x.await("connections: 1 in ")
	x.awaitPrompt()
	if screen := x.screen(); strings.Contains(screen, "Ctrl-C ends it") {
		t.Errorf("the counters are left on the screen:\n%s", screen)
	}
}
