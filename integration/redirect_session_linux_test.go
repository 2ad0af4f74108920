package integration

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestRedirOnTerminal shows a line for each redirect and connection, the counters
// below them, and a summary in the end.
func TestRedirOnTerminal(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	x := kit.OpenTerminal(t)
	x.TypeLine(kit.BinaryPath() + " redir -n " + namespace + " app 8080:" + here.Port)
	x.WaitForText("8080 → localhost:" + here.Port + " (nft)")
	x.WaitForText("0 open, 0 total")
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	x.WaitForText("→ 8080  18 B in, ")
	x.WaitForText("0 open, 1 total")

	x.PressKeys("C-c")
	x.WaitForText("connections: 1 in ")
	x.WaitForPrompt()
	if screen := x.ReadScreen(); strings.Contains(screen, "Ctrl-C to stop") {
		t.Errorf("the counters are left on the screen:\n%s", screen)
	}
}

// TestRedirDrain cuts the connections that are left after --drain, or on a second
// Ctrl-C.
func TestRedirDrain(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	for what, drain := range map[string]string{"time": "100ms", "second Ctrl-C": "1h"} {
		t.Run(what, func(t *testing.T) {
			redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "--drain="+drain)
			conn := kit.OpenConnections(t, 1, app+":7000", "hello")[0]
			redir.Signal(syscall.SIGINT)
			redir.WaitForEvent("draining")
			if drain == "1h" {
				if err := kit.ExchangeText(conn, "still there"); err != nil {
					t.Errorf("while draining: %v", err)
				}
				redir.Signal(syscall.SIGINT)
			}

			redir.WaitForEnd()
			kit.SetPatience(conn)
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || os.IsTimeout(err) {
				t.Errorf("read after the drain: %v, want a reset", err)
			}
		})
	}
}

// TestRedirHeld refuses a port that is redirected already, and says who has it.
func TestRedirHeld(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	first := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	host, _ := os.Hostname()
	for name, env := range map[string][]string{"same user": nil, "another user": {"XDG_CONFIG_HOME=" + t.TempDir()}} {
		calls, began := kit.StartCalls(t, app+":8080"), time.Now()
		got := kit.StartRedir(t, env, "-n", namespace, "app", "8080:1").WaitForEnd()
		t.Logf("%s: refused after %s", name, time.Since(began).Round(time.Millisecond))
		if got.Code != 1 || !strings.Contains(got.Stderr, "port 8080 is already redirected by ") || !strings.Contains(got.Stderr, "@"+host) {
			t.Errorf("%s: %v, want it refused", name, got)
		}
		calls.VerifyLaptopAnswered(t, "while "+name+" wanted the port")
	}

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)

	// Another port of the same pod is free.
	second := kit.StartRedir(t, []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "-n", namespace, "app", "7000:"+here.Port)
	second.WaitForEvent("redirect")
	second.Interrupt()
	first.Interrupt()
}

// TestRedirRefusals refuses what cannot be redirected, and says why.
func TestRedirRefusals(t *testing.T) {
	namespace := kit.SharedPods(t)
	kit.ExpectFailure(1, "hostNetwork", "without hostNetwork").Verify(t, "hostNetwork", kit.RunKdiag(t, "redir", "-n", namespace, "hostnetwork", "8080"))
	kit.ExpectFailure(1, "no such container", "containers in this pod: ").Verify(t, "no container", kit.RunKdiag(t, "redir", "-n", namespace, "several", "-c", "three"))
	kit.ExpectFailure(2, "-c two redirects every port", "--help").Verify(t, "a container and a port", kit.RunKdiag(t, "redir", "-n", namespace, "several", "-c", "two", "8080"))
	restricted := kit.CreateRootPod(t, "pod-security.kubernetes.io/enforce=baseline")
	kit.ExpectFailure(1, `violates PodSecurity "baseline:latest"`, "NET_ADMIN").Verify(t, "Pod Security", kit.RunKdiag(t, "redir", "-n", restricted, "root", "8080"))
}
