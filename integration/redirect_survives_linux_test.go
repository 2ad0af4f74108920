package integration

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestRedirManagerKilled kills the manager: the kernel removes the rules, the
// application serves again, and kdiag goes on with another manager.
func TestRedirManagerKilled(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)

	// A caller who waits for an answer must not wait for ever: the reset has to
	// reach it while the rules still lead there.
	waiting := make([]*net.TCPConn, 20)
	for i := range waiting {
		conn := kit.OpenConnection(t, kit.NodeNetwork, app+":8080")
		_ = conn.SetKeepAlive(false)
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n")
		waiting[i] = conn
	}

	calls := kit.StartCalls(t, app+":8080")
	manager, killed := kit.FindNetManager(t, namespace), time.Now()
	if err := syscall.Kill(manager, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	for i, conn := range waiting {
		kit.SetPatience(conn)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("connection %d that was open: %v, want a reset", i, err)
		}
	}

	redir.WaitForEvent("disconnected")
	if back := redir.WaitForEvent("reconnected"); !back.Renewed || back.Cut < len(waiting) {
		t.Errorf("event %+v, want another session, and %d connections cut", back, len(waiting))
	}
	// An empty text is in any answer: that of the application, unless kdiag is faster.
	served, laptop := calls.WaitForAnswer(t, killed, ""), calls.WaitForAnswer(t, killed, kit.FromLaptop)
	t.Logf("after kill -9 of the manager the pod answered again after %s, and the laptop after %s", served, laptop)
	t.Log(calls.CountAnswers())
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
	kit.WaitForAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
}

// TestRedirKilled kills kdiag itself, and stops it for good, as a laptop that was
// closed: the manager ends the redirects. A process that was killed has another one tell it.
func TestRedirKilled(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	for what, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
			kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)

			calls, began := kit.StartCalls(t, app+":8080"), time.Now()
			redir.Signal(signal)
			served := calls.WaitForAnswer(t, began, kit.FromApp)
			t.Logf("the application served again %s after kdiag was %s", served, what)
			t.Log(calls.CountAnswers())
		})
	}
}

// TestRedirIptables redirects by iptables, from an image that has it. The next
// manager removes the rules that a killed one has left.
func TestRedirIptables(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")
	args := []string{"-n", namespace, "app", "8080:" + here.Port, "--outgoing", "8080:" + here.Port, "--image=localhost/kdiag:iptables", "--netfilter=iptables"}
	redir := kit.StartRedir(t, nil, args...)
	if e := redir.WaitForEvent("redirect"); e.Backend != "iptables" {
		t.Errorf("event = %+v, want iptables", e)
	}

	redir.WaitForEvent("redirect")
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, other+":8080", kit.FromLaptop)
	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules while redirecting: %s", rules)
	}
	redir.Signal(syscall.SIGKILL) // or it would have another manager remove the rules
	redir.WaitForEnd()
	if err := syscall.Kill(kit.FindNetManager(t, namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	if rules := netns.Run(t, "iptables-save"); !strings.Contains(rules, "KDIAG-") {
		t.Errorf("rules after kill -9: %s\nwant them there, for the next manager to remove", rules)
	}

	began := time.Now()
	redir = kit.StartRedirects(t, 2, args...)
	t.Logf("kdiag's next manager took over from rules of a killed one, and redirected anew, %s after kdiag's start", time.Since(began).Round(time.Millisecond))
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
	// The table that the killed manager's iptables made stays, empty: nobody knows
	// any more whose it is. The tests of netfilter show what an orderly end leaves.
	kit.WaitUntil(t, "the rules to go", func() bool { return !strings.Contains(netns.Run(t, "nft", "list", "ruleset"), "KDIAG-") })

	redir = kit.StartRedir(t, nil, "-n", namespace, "app", "8080", "--netfilter=iptables")
	kit.ExpectFailure(1, "iptables", "hint: ").Verify(t, "an image without iptables", redir.WaitForEnd())
}

// TestRedirApplicationRestarts keeps the redirect while the application's container
// restarts: the net container does not share the application's processes.
func TestRedirApplicationRestarts(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	calls := kit.StartCalls(t, app+":8080")
	if err := syscall.Kill(kit.FindContainerProcess(t, namespace, "app", "{.status.containerStatuses[0].containerID}"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	kit.WaitForPodField(t, namespace, "app", "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}", "1 true")
	calls.VerifyLaptopAnswered(t, "while the application restarted")
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
}

// TestRedirCrashing redirects from a pod whose application does not stay up. That is
// when one wants to run it elsewhere, and the pod's network is there.
func TestRedirCrashing(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "crashing.yaml"))
	kit.WaitForPodField(t, namespace, "crashing", "{.status.containerStatuses}", "CrashLoopBackOff")
	kit.StartRedirects(t, 1, "-n", namespace, "crashing", "8080:1").Interrupt()
}
