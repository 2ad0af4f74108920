package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kdiag/netfilter/netnstest"
)

// nodeNetns is the network namespace of the cluster's node, from where its pods
// can be called.
const nodeNetns = netnstest.Namespace("/run/netns/kdiag-node")

// dialFrom connects from another network namespace.
func dialFrom(netns netnstest.Namespace, address string) (conn *net.TCPConn, err error) {
	err = netns.Do(func() error {
		dialled, dialErr := net.DialTimeout("tcp", address, 10*time.Second)
		if dialErr == nil {
			conn, _ = dialled.(*net.TCPConn)
		}
		return dialErr
	})
	return conn, err
}

// podNetns is the network namespace of a pod, by the path of one of its
// processes.
func podNetns(t testing.TB, namespace, pod string) netnstest.Namespace {
	t.Helper()
	return netnstest.Namespace(fmt.Sprintf("/proc/%d/ns/net", pidOf(t, namespace, pod, ".status.containerStatuses[0].containerID")))
}

// pidOf is the first process of a container, whose id stands at a path of the
// pod.
func pidOf(t testing.TB, namespace, pod, path string) int {
	t.Helper()
	out, err := shared.kubectl(context.Background(), "", "get", "pod", "-n", namespace, pod, "-o", "jsonpath={"+path+"}")
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

// onNode skips a test on a cluster that does not run on this machine.
func onNode(t *testing.T) {
	t.Helper()
	if shared.node == "" {
		t.Skip("pods can be called, and looked into, in the project's own cluster only")
	}
}
