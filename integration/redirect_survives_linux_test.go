package integration

import (
	"errors"
	"io"
	"kdiag/integration/kit"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRedirManagerKilled ends the manager at once: the kernel takes the rules
// away, the application serves again, and the user is told.
func TestRedirManagerKilled(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	// One that waits for an answer must not wait for ever: a reset is to reach
	// it while there still is a way.
	waiting := make([]*net.TCPConn, 20)
	for i := range waiting {
		conn, err := kit.DialFrom(kit.NodeNetwork, app+":8080")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetKeepAlive(false)
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n")
		waiting[i] = conn
	}

	if err := syscall.Kill(kit.FindNetManager(t, namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	killed := time.Now()
	kit.WaitUntil(t, "the application to serve again", func() bool {
		got, err := kit.FetchAnswer(kit.NodeNetwork, app+":8080")
		return err == nil && strings.Contains(got, kit.FromApp)
	})
	t.Logf("the application served again %s after kill -9 of the manager", time.Since(killed).Round(time.Millisecond))
	for i, conn := range waiting {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d that was open: %v, want a reset", i, err)
		}
	}

	r.WaitForEnd()
	if r.Code != 1 || !strings.Contains(r.Stderr.String(), "the session with pod "+namespace+"/app ended") {
		t.Errorf("code %d, %s, want 1 and why", r.Code, r.Stderr)
	}

	// The next one gets a new container.
	r = kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	r.Interrupt()
}

// TestRedirKilled ends kdiag itself at once, then stops it for good: a laptop
// that was closed. The manager gives the connections back.
func TestRedirKilled(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	for what, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			r := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
			kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
			_ = r.Cmd.Process.Signal(signal)
			began := time.Now()
			kit.WaitUntil(t, "the application to serve again", func() bool {
				got, err := kit.FetchAnswer(kit.NodeNetwork, app+":8080")
				return err == nil && strings.Contains(got, kit.FromApp)
			})
			t.Logf("the application served again %s after kdiag was %s", time.Since(began).Round(time.Millisecond), what)
		})
	}
}

// TestRedirIptables redirects by iptables, from an image that has it. What a
// killed manager leaves there the next one takes away.
func TestRedirIptables(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")
	args := []string{"-n", namespace, "app", "8080:" + here.Port, "--outgoing", "8080:" + here.Port, "--image=localhost/kdiag:iptables", "--netfilter=iptables"}
	r := kit.StartRedir(t, nil, args...)
	if e := r.WaitForEvent("redirect"); e.Backend != "iptables" {
		t.Errorf("event = %+v, want iptables", e)
	}

	r.WaitForEvent("redirect")
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, other+":8080", kit.FromLaptop)
	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules while redirecting: %s", rules)
	}
	if err := syscall.Kill(kit.FindNetManager(t, namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	r.WaitForEnd()
	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules after kill -9: %s\nwant them to be there: it is what the next start is for", rules)
	}

	r = kit.StartRedirects(t, 2, args...)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	r.Interrupt()
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
	// The table that the killed one's iptables made stays, empty: nobody knows any
	// more whose it is. What an orderly end leaves, the tests of netfilter hold.
	kit.WaitUntil(t, "the rules to go", func() bool { return !strings.Contains(netns.Run(t, "nft", "list", "ruleset"), "KDIAG-") })

	r = kit.StartRedir(t, nil, "-n", namespace, "app", "8080", "--netfilter=iptables")
	r.WaitForEnd()
	if r.Code != 1 || !strings.Contains(r.Stderr.String(), "iptables") || !strings.Contains(r.Stderr.String(), "hint: ") {
		t.Errorf("an image without iptables: code %d, %s", r.Code, r.Stderr)
	}
}

// TestRedirApplicationRestarts restarts the application's container: the
// redirect lives on, for its container does not share the application's
// processes.
func TestRedirApplicationRestarts(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	r := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	if err := syscall.Kill(kit.FindContainerProcess(t, namespace, "app", ".status.containerStatuses[0].containerID"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	kit.WaitUntil(t, "the application to have restarted", func() bool {
		return kit.RunKubectl(t, "get", "pod", "-n", namespace, "app", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}") == "1 true"
	})
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	r.Interrupt()
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
}

// TestRedirCrashing redirects from a pod whose application does not stay up:
// the sandbox is there, and that is when one wants to run it elsewhere.
func TestRedirCrashing(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "crashing.yaml"))
	kit.WaitUntil(t, "the pod to crash", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "crashing", "-o", "jsonpath={.status.containerStatuses}"), "CrashLoopBackOff")
	})
	kit.StartRedirects(t, 1, "-n", namespace, "crashing", "8080:1").Interrupt()
}
