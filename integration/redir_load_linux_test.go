package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// netManager is the process of the net container of the pod app.
func netManager(t *testing.T, namespace string) int {
	t.Helper()
	return pidOf(t, namespace, "app", ".status.ephemeralContainerStatuses[0].containerID")
}

// anonymous is a process's anonymous memory, in KiB (proc_pid_status(5)).
func anonymous(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(string(status)) {
		if words := strings.Fields(line); words[0] == "RssAnon:" {
			size, _ := strconv.Atoi(words[1])
			return size
		}
	}

	t.Fatalf("no RssAnon of process %d", pid)
	return 0
}

// descriptors are a process's open files.
func descriptors(pid int) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(list)
}

// peak follows a process's anonymous memory until stop is called, which
// returns the most of it, in KiB.
func peak(t *testing.T, pid int) (stop func() int) {
	done, most := make(chan struct{}), make(chan int)
	go func() {
		highest := 0
		for {
			select {
			case <-done:
				most <- highest
				return
			case <-time.After(20 * time.Millisecond):
				highest = max(highest, anonymous(t, pid))
			}
		}
	}()

	return func() int { close(done); return <-most }
}

// maxManager is what the pod's memory limit has to bear, in KiB.
const maxManager = 48 << 10

// TestRedirThousand has 1,000 connections at once, each of which echoes 64 KiB.
func TestRedirThousand(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, echoing)
	r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port, "-q")
	pid := netManager(t, namespace)
	stop := peak(t, pid)
	const many = 1000
	conns := make([]*net.TCPConn, many)
	err := nodeNetns.Do(func() error {
		for i := range conns {
			conn, err := net.DialTimeout("tcp", app+":7000", 20*time.Second)
			if err != nil {
				return err
			}
			conns[i], _ = conn.(*net.TCPConn)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	want := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
	var all sync.WaitGroup
	for i, conn := range conns {
		all.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(80 * time.Second))
			go func() { _, _ = conn.Write(want); _ = conn.CloseWrite() }()
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, want) {
				t.Errorf("connection %d: %d bytes, %v", i, len(got), err)
			}
		})
	}

	all.Wait()
	if most := stop(); most > maxManager {
		t.Errorf("the manager took %d KiB of anonymous memory, over %d", most, maxManager)
	} else {
		t.Logf("the manager's anonymous memory: %d KiB at most", most)
	}

	r.interrupt()
	if r.code != 0 {
		t.Errorf("code %d, %s", r.code, r.stderr)
	}
}

// TestRedirTenThousand makes 10,000 short connections in a row and looks for
// what they leave behind, in the manager and in the kernel.
func TestRedirTenThousand(t *testing.T) {
	namespace, app, _ := redirPods(t)
	here := newLaptop(t, saying("hello"))
	r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port, "-q")
	pid, netns := netManager(t, namespace), podNetns(t, namespace, "app")
	short := func(n int) {
		t.Helper()
		const lanes = 4
		var all sync.WaitGroup
		for range lanes {
			all.Go(func() {
				err := nodeNetns.Do(func() error {
					for range n / lanes {
						conn, err := net.DialTimeout("tcp", app+":7000", 20*time.Second)
						if err != nil {
							return err
						}

						_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
						got, err := io.ReadAll(conn)
						// A reset, so that no TIME-WAIT holds the caller's port.
						_ = conn.(*net.TCPConn).SetLinger(0)
						_ = conn.Close()
						if err != nil || string(got) != "hello" {
							return fmt.Errorf("got %q, %w", got, err)
						}
					}

					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}

		all.Wait()
	}

	short(400)
	eventually(t, "the first connections to be gone", func() bool { return open(pid) == 0 })
	files := descriptors(pid)
	short(10000)
	eventually(t, "all connections to be gone", func() bool { return open(pid) == 0 && descriptors(pid) <= files })
	if most := anonymous(t, pid); most > maxManager {
		t.Errorf("the manager has %d KiB of anonymous memory after them, over %d", most, maxManager)
	}

	r.interrupt()
	// The redirected connections' entries go with the connections: none is
	// established once they have ended.
	eventually(t, "no established entry in conntrack", func() bool {
		return !strings.Contains(netns.Run(t, "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED", "--dport", "7000"), "dport=7000")
	})
}

// open is how many redirected connections a manager has: established sockets
// of its own that are not on loopback.
func open(pid int) int {
	count := 0
	for _, file := range []string{"tcp", "tcp6"} {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		for line := range strings.Lines(string(text)) {
			// State 01 is ESTABLISHED; 0100007F is 127.0.0.1 (proc_pid_net(5)).
			if words := strings.Fields(line); len(words) > 3 && words[3] == "01" && !strings.Contains(words[1], "0100007F") {
				count++
			}
		}
	}

	return count
}
