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

// holdVariable makes the test binary a manager that attaches a port and waits.
const holdVariable = "KDIAG_NETFILTER_HOLD"

func TestMain(m *testing.M) {
	if name := os.Getenv(holdVariable); name != "" {
		os.Exit(hold(name))
	}
	os.Exit(m.Run())
}

// hold ends when its standard input does.
func hold(name string) int {
	for _, b := range testBackends() {
		if b.name != name {
			continue
		}

		backend, err := openVariant(b.backend, testConfig("dead"), b.variant)
		if err == nil {
			err = backend.Attach(in(appPort))
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

// startHolder starts such a manager in the test's namespace.
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

// eventually waits until a listing is as it should be.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// TestKilled: what a killed manager had goes with it, or with the next one.
func TestKilled(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
		serve(t, pod, appPort, says("app"))
		serve(t, pod, listener, original)
		first := b.list(t, pod)
		holder := startHolder(t, b)
		expect(t, outside, 0, "10.1.0.2:8080", "redirected from 10.1.0.2:8080")
		if b.variant.tableFlags == tableOwner {
			refusedToOthers(t)
		}
		if err := holder.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}

		_ = holder.Wait()
		if b.variant.tableFlags == tableOwner {
			eventually(t, "table gone", func() bool { return b.list(t, pod) == first })
			expect(t, outside, 0, "10.1.0.2:8080", "app")
		}

		// Whichever back end comes next sweeps.
		next, err := openVariant("nft", testConfig("next"), backendVariant{tableFlags: tableOwner})
		if err != nil {
			t.Fatalf("open after kill -9 = %v", err)
		}

		expect(t, outside, 0, "10.1.0.2:8080", "app")
		if list := b.list(t, pod); strings.Contains(strings.ToLower(list), "dead") {
			t.Errorf("listing still has the dead manager's:\n%s", list)
		}

		attach(t, next, in(appPort))
		if err := next.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// refusedToOthers: the kernel lets nobody else change a table that has an owner.
func refusedToOthers(t *testing.T) {
	t.Helper()
	for _, command := range []string{"delete table inet kdiag_dead", "flush chain inet kdiag_dead output"} {
		printed, err := exec.Command("nft", strings.Fields(command)...).CombinedOutput()
		if err == nil || !strings.Contains(string(printed), "Operation not permitted") {
			t.Errorf("nft %s: %v, %q, want that it is not permitted", command, err, printed)
		}
	}
}

// TestDeadWhileOpen: a manager that dies while another lives holds nothing.
func TestDeadWhileOpen(t *testing.T) {
	eachBackend(t, func(t *testing.T, b testBackend, _, _ namespace) {
		survivor := b.open(t, testConfig("survivor"))
		holder := startHolder(t, b)
		wantHeld(t, survivor, in(appPort))
		if err := holder.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()
		attach(t, survivor, in(appPort))
	})
}
