package netfilter

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdVariable turns the test binary into a manager that attaches a port and waits.
const holdVariable = "KDIAG_NETFILTER_HOLD"

func TestMain(m *testing.M) {
	if name := os.Getenv(holdVariable); name != "" {
		os.Exit(runHolder(name))
	}
	os.Exit(m.Run())
}

// runHolder attaches a port and returns when its standard input ends.
func runHolder(name string) int {
	for _, b := range testBackends() {
		if b.name != name {
			continue
		}

		backend, err := openVariant(b.backend, testConfig("dead"), b.variant)
		if err == nil {
			err = backend.Attach(incoming(appPort))
		}

		if err != nil {
			fmt.Println(err)
			return 1
		}

		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
	}

	return 0
}

// startHolder starts the test binary as a manager in the test's namespace.
func startHolder(t *testing.T, b testBackend) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), holdVariable+"="+b.name)
	stdin, _ := cmd.StdinPipe()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("holder printed %q, %v, want ready", line, err)
	}

	return cmd
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(waitTimeout); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, waitTimeout)
		}
	}
}

// TestKilled checks that the redirects of a killed manager end with it, or when the
// next manager starts.
func TestKilled(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithDestination)

		first := b.listRules(t, pod)
		holder := startHolder(t, b)
		wantGreeting(t, outside, 0, "10.1.0.2:8080", "redirected from 10.1.0.2:8080")
		if b.variant.tableFlags == tableOwner {
			wantOwnerOnly(t)
		}

		if err := holder.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()

		if b.variant.tableFlags == tableOwner {
			waitFor(t, "table gone", func() bool { return b.listRules(t, pod) == first })
			wantGreeting(t, outside, 0, "10.1.0.2:8080", "app")
		}

		// Any back end sweeps what any other left.
		next, err := openVariant("nft", testConfig("next"), backendVariant{tableFlags: tableOwner})
		if err != nil {
			t.Fatalf("open after kill -9 = %v", err)
		}

		wantGreeting(t, outside, 0, "10.1.0.2:8080", "app")
		if list := b.listRules(t, pod); strings.Contains(strings.ToLower(list), "dead") {
			t.Errorf("listing still has the dead manager's:\n%s", list)
		}

		attachAll(t, next, incoming(appPort))
		if err := next.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// wantOwnerOnly checks that the kernel lets nobody else change a table with an owner.
func wantOwnerOnly(t *testing.T) {
	t.Helper()
	for _, command := range []string{"delete table inet kdiag_dead", "flush chain inet kdiag_dead output"} {
		printed, err := exec.Command("nft", strings.Fields(command)...).CombinedOutput()
		if err == nil || !strings.Contains(string(printed), "Operation not permitted") {
			t.Errorf("nft %s: %v, %q, want a permission error", command, err, printed)
		}
	}
}

// TestDeadWhileOpen checks that a manager gets the port of another that has died since
// it was opened.
func TestDeadWhileOpen(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, _, _ namespace) {
		survivor := b.open(t, testConfig("survivor"))
		holder := startHolder(t, b)
		wantHeld(t, survivor, incoming(appPort))

		if err := holder.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()

		attachAll(t, survivor, incoming(appPort))
	})
}
