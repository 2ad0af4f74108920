package kit

import (
	"context"
	"fmt"
	"kdiag/netfilter/netnstest"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// NodeNetwork is the network namespace of the cluster's node, from where its pods
// can be called.
const NodeNetwork = netnstest.Namespace("/run/netns/kdiag-node")

// DialFrom connects from another network namespace.
func DialFrom(netns netnstest.Namespace, address string) (conn *net.TCPConn, err error) {
	err = netns.Do(func() error {
		dialled, dialErr := net.DialTimeout("tcp", address, 10*time.Second)
		if dialErr == nil {
			conn, _ = dialled.(*net.TCPConn)
		}
		return dialErr
	})
	return conn, err
}

// FindPodNetwork is the network namespace of a pod, by the path of one of its
// processes.
func FindPodNetwork(t testing.TB, namespace, pod string) netnstest.Namespace {
	t.Helper()
	return netnstest.Namespace(fmt.Sprintf("/proc/%d/ns/net", FindContainerProcess(t, namespace, pod, ".status.containerStatuses[0].containerID")))
}

// FindContainerProcess is the first process of a container, whose id stands at a path of the
// pod.
func FindContainerProcess(t testing.TB, namespace, pod, path string) int {
	t.Helper()
	out, err := TryKubectl(context.Background(), "", "get", "pod", "-n", namespace, pod, "-o", "jsonpath={"+path+"}")
	if err != nil {
		t.Fatal(err)
	}

	_, id, ok := strings.Cut(strings.TrimSpace(out), "://")
	if !ok {
		t.Fatalf("pod %s: no container at %s: %q", pod, path, out)
	}

	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	first := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), id) {
			continue
		}
		if pid, _ := strconv.Atoi(strings.Split(file, "/")[2]); first == 0 || pid < first {
			first = pid
		}
	}

	if first == 0 {
		t.Fatalf("no process of container %s is on this machine", id)
	}

	return first
}

// ReadAnonymousMemory is a process's anonymous memory, in KiB (proc_pid_status(5)).
func ReadAnonymousMemory(t *testing.T, pid int) int {
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

// CountDescriptors are a process's open files.
func CountDescriptors(pid int) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(list)
}

// FollowMemory follows a process's anonymous memory until stop is called, which
// returns the most of it, in KiB.
func FollowMemory(t *testing.T, pid int) (stop func() int) {
	done, most := make(chan struct{}), make(chan int)
	go func() {
		highest := 0
		for {
			select {
			case <-done:
				most <- highest
				return
			case <-time.After(20 * time.Millisecond):
				highest = max(highest, ReadAnonymousMemory(t, pid))
			}
		}
	}()

	return func() int { close(done); return <-most }
}

// CountConnections is how many redirected connections a manager has: established sockets
// of its own that are not on loopback.
func CountConnections(pid int) int {
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
