package integration

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRedirManagerKilled ends the manager at once: the kernel takes the rules
// away, the application serves again, and the user is told.
func TestRedirManagerKilled(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	wants(t, nodeNetns, app+":8080", fromLaptop)
	// One that waits for an answer must not wait for ever: a reset is to reach
	// it while there still is a way.
	waiting := make([]*net.TCPConn, 20)
	for i := range waiting {
		conn, err := dialFrom(nodeNetns, app+":8080")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetKeepAlive(false)
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n")
		waiting[i] = conn
	}

	if err := syscall.Kill(netManager(t, namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	killed := time.Now()
	eventually(t, "the application to serve again", func() bool {
		got, err := get(nodeNetns, app+":8080")
		return err == nil && strings.Contains(got, fromApp)
	})
	t.Logf("the application served again %s after kill -9 of the manager", time.Since(killed).Round(time.Millisecond))
	for i, conn := range waiting {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d that was open: %v, want a reset", i, err)
		}
	}

	r.awaitEnd()
	if r.code != 1 || !strings.Contains(r.stderr.String(), "the session with pod "+namespace+"/app ended") {
		t.Errorf("code %d, %s, want 1 and why", r.code, r.stderr)
	}

	// The next one gets a new container.
	r = redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	wants(t, nodeNetns, app+":8080", fromLaptop)
	r.interrupt()
}

// TestRedirKilled ends kdiag itself at once, then stops it for good: a laptop
// that was closed. The manager gives the connections back.
func TestRedirKilled(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	for what, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
			wants(t, nodeNetns, app+":8080", fromLaptop)
			_ = r.cmd.Process.Signal(signal)
			began := time.Now()
			eventually(t, "the application to serve again", func() bool {
				got, err := get(nodeNetns, app+":8080")
				return err == nil && strings.Contains(got, fromApp)
			})
			t.Logf("the application served again %s after kdiag was %s", time.Since(began).Round(time.Millisecond), what)
		})
	}
}

// TestRedirIptables redirects by iptables, from an image that has it. What a
// killed manager leaves there the next one takes away.
func TestRedirIptables(t *testing.T) {
	namespace, app, other := redirPods(t)
	here := newLaptop(t, answering)
	netns := podNetns(t, namespace, "app")
	args := []string{"-n", namespace, "app", "8080:" + here.port, "--outgoing", "8080:" + here.port, "--image=localhost/kdiag:iptables", "--netfilter=iptables"}
	r := startRedir(t, nil, args...)
	if e := r.await("redirect"); e.Backend != "iptables" {
		t.Errorf("event = %+v, want iptables", e)
	}

	r.await("redirect")
	wants(t, nodeNetns, app+":8080", fromLaptop)
	wants(t, netns, other+":8080", fromLaptop)
	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules while redirecting: %s", rules)
	}
	if err := syscall.Kill(netManager(t, namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	r.awaitEnd()
	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules after kill -9: %s\nwant them to be there: it is what the next start is for", rules)
	}

	r = redirecting(t, 2, args...)
	wants(t, nodeNetns, app+":8080", fromLaptop)
	r.interrupt()
	wants(t, nodeNetns, app+":8080", fromApp)
	// The table that the killed one's iptables made stays, empty: nobody knows any
	// more whose it is. What an orderly end leaves, the tests of netfilter hold.
	eventually(t, "the rules to go", func() bool { return !strings.Contains(netns.Run(t, "nft", "list", "ruleset"), "KDIAG-") })

	r = startRedir(t, nil, "-n", namespace, "app", "8080", "--netfilter=iptables")
	r.awaitEnd()
	if r.code != 1 || !strings.Contains(r.stderr.String(), "iptables") || !strings.Contains(r.stderr.String(), "hint: ") {
		t.Errorf("an image without iptables: code %d, %s", r.code, r.stderr)
	}
}

// TestRedirApplicationRestarts restarts the application's container: the
// redirect lives on, for its container does not share the application's
// processes.
func TestRedirApplicationRestarts(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, answering)
	r := redirecting(t, 1, "-n", namespace, "app", "8080:"+here.port)
	if err := syscall.Kill(pidOf(t, namespace, "app", ".status.containerStatuses[0].containerID"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	eventually(t, "the application to have restarted", func() bool {
		return kubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}") == "1 true"
	})
	wants(t, nodeNetns, app+":8080", fromLaptop)
	r.interrupt()
	wants(t, nodeNetns, app+":8080", fromApp)
}

// TestRedirDrain cuts what is left after --drain, and at once on a second
// Ctrl-C.
func TestRedirDrain(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, echoing)
	for what, drain := range map[string]string{"time": "100ms", "second Ctrl-C": "1h"} {
		t.Run(what, func(t *testing.T) {
			r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port, "--drain="+drain)
			conn := live(t, 1, app+":7000")[0]
			_ = r.cmd.Process.Signal(syscall.SIGINT)
			r.await("draining")
			if drain == "1h" {
				if err := exchange(conn, "still there"); err != nil {
					t.Errorf("while draining: %v", err)
				}
				_ = r.cmd.Process.Signal(syscall.SIGINT)
			}

			r.awaitEnd()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || os.IsTimeout(err) {
				t.Errorf("read after the drain: %v, want a reset", err)
			}
		})
	}
}

// TestRedirRefusals is what redir does not do.
func TestRedirRefusals(t *testing.T) {
	namespace := pods(t)
	failure{1, "hostNetwork", "network of its own"}.check(t, "hostNetwork", kdiag(t, "redir", "-n", namespace, "hostnetwork", "8080"))
	failure{1, "no such container", "it has: "}.check(t, "no container", kdiag(t, "redir", "-n", namespace, "several", "-c", "three"))
	failure{2, "-c two is for every port", "--help"}.check(t, "a container and a port", kdiag(t, "redir", "-n", namespace, "several", "-c", "two", "8080"))
	restricted := newNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	apply(t, restricted, manifest(t, "rootpod.yaml"))
	waitForPods(t, restricted)
	failure{1, `violates PodSecurity "baseline:latest"`, "NET_ADMIN"}.check(t, "Pod Security", kdiag(t, "redir", "-n", restricted, "root", "8080"))
}
