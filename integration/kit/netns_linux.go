package kit

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/netfilter/netnstest"
)

// NodeNetwork is the network namespace of the cluster's node, from where its pods
// can be called.
const NodeNetwork = netnstest.Namespace("/run/netns/kdiag-node")

// dialPatience is how long DialFrom waits for a connection.
const dialPatience = 10 * time.Second

// DialFrom connects to an address from another network namespace.
func DialFrom(from netnstest.Namespace, address string) (conn *net.TCPConn, err error) {
	return dialFromWithin(from, address, dialPatience)
}

// dialFromWithin does the same, and gives up after a limit.
func dialFromWithin(from netnstest.Namespace, address string, limit time.Duration) (conn *net.TCPConn, err error) {
	err = from.Do(func() error {
		dialled, dialErr := net.DialTimeout("tcp", address, limit)
		if dialErr == nil {
			conn, _ = dialled.(*net.TCPConn)
		}
		return dialErr
	})
	return conn, err
}

// OpenConnection connects to an address from another network namespace, which
// must succeed. The connection is closed at the end of the test.
func OpenConnection(t *testing.T, from netnstest.Namespace, address string) *net.TCPConn {
	t.Helper()
	conn, err := DialFrom(from, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// StartServerIn listens in another network namespace, handles each connection in a
// goroutine of its own until the test ends, and returns where it listens.
func StartServerIn(t *testing.T, in netnstest.Namespace, address string, handle func(*net.TCPConn)) net.Addr {
	t.Helper()
	var listener net.Listener
	err := in.Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })
	go acceptConnections(listener, handle)
	return listener.Addr()
}

// FindPodNetwork returns the network namespace of a pod, by the path of one of
// its processes.
func FindPodNetwork(t testing.TB, namespace, pod string) netnstest.Namespace {
	t.Helper()
	pid := FindContainerProcess(t, namespace, pod, "{.status.containerStatuses[0].containerID}")
	return netnstest.Namespace(fmt.Sprintf("/proc/%d/ns/net", pid))
}

// FindContainerProcess returns the id of the first process of the container whose
// id a JSONPath template finds in a pod.
func FindContainerProcess(t testing.TB, namespace, pod, template string) int {
	t.Helper()
	// A container may be known to run before the pod's status has its id.
	var id string
	WaitUntil(t, "the container at "+template, func() bool {
		id = ReadContainerID(t, namespace, pod, template)
		return id != ""
	})

	pids := ListContainerProcesses(id)
	if len(pids) == 0 {
		t.Fatalf("no process of container %s is on this machine", id)
	}
	first := pids[0]
	for _, pid := range pids {
		first = min(first, pid)
	}

	return first
}

// ReadContainerID reads the id of the container that a JSONPath template finds in
// a pod, without the name of its runtime. It returns an empty one if there is
// none yet.
func ReadContainerID(t testing.TB, namespace, pod, template string) string {
	t.Helper()
	_, id, _ := strings.Cut(ReadPodField(t, namespace, pod, template), "://")
	return id
}

// ListContainerProcesses returns the ids of the processes of a container.
func ListContainerProcesses(id string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), id) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		pids = append(pids, pid)
	}
	return pids
}

// ReadAnonymousMemory reads how much anonymous memory a process has, in KiB
// (proc_pid_status(5)).
func ReadAnonymousMemory(t *testing.T, pid int) int {
	t.Helper()
	size, err := readAnonymousMemory(pid)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// readAnonymousMemory reads RssAnon of a process's status.
func readAnonymousMemory(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if words := strings.Fields(line); words[0] == "RssAnon:" {
			return strconv.Atoi(words[1])
		}
	}
	return 0, fmt.Errorf("no RssAnon of process %d", pid)
}

// FollowMemory follows a process's anonymous memory until stop is called, which
// returns the most of it, in KiB.
func FollowMemory(t *testing.T, pid int) (stop func() int) {
	done, most := make(chan struct{}), make(chan int)
	go func() {
		highest := 0
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()

		for {
			select {
			case <-done:
				most <- highest
				return
			case <-tick.C:
				size, err := readAnonymousMemory(pid)
				if err != nil {
					t.Error(err)
				}
				highest = max(highest, size)
			}
		}
	}()

	stop = sync.OnceValue(func() int { close(done); return <-most })
	t.Cleanup(func() { stop() })
	return stop
}

// CountDescriptors counts the open files of a process.
func CountDescriptors(pid int) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(list)
}

// CountConnections counts the redirected connections that a manager has:
// established sockets of its network that are not on loopback.
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
