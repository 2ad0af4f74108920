package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nodeNetns is the network namespace of the cluster's node, from where its pods
// can be called.
const nodeNetns = "/run/netns/kdiag-node"

// inNetns runs f in another network namespace. Its sockets stay there.
func inNetns(t testing.TB, netns string, f func() error) {
	t.Helper()
	if err := withNetns(netns, f); err != nil {
		t.Fatal(err)
	}
}

func withNetns(netns string, f func() error) error {
	failed := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and no
		// other one ever runs in the wrong namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			failed <- fmt.Errorf("%s: %w", netns, err)
			return
		}
		defer unix.Close(fd)
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			failed <- fmt.Errorf("enter %s: %w", netns, err)
			return
		}
		failed <- f()
	}()
	return <-failed
}

// dialFrom connects from another network namespace.
func dialFrom(netns, address string) (conn *net.TCPConn, err error) {
	err = withNetns(netns, func() error {
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
func podNetns(t testing.TB, namespace, pod string) string {
	t.Helper()
	return fmt.Sprintf("/proc/%d/ns/net", pidOf(t, namespace, pod, ".status.containerStatuses[0].containerID"))
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

// inPod runs a command of this machine's in a pod's network namespace.
func inPod(t testing.TB, netns string, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + netns}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q in %s: %v: %s", args, netns, err, out)
	}
	return string(out)
}

// onNode skips a test on a cluster that does not run on this machine.
func onNode(t *testing.T) {
	t.Helper()
	if shared.node == "" {
		t.Skip("pods can be called, and looked into, in the project's own cluster only")
	}
}
