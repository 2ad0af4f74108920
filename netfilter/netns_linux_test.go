package netfilter

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips a test without root, unless all tests were asked for.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") == "1" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// namespace is a network namespace of a test.
type namespace struct{ file *os.File }

const thisNetwork = "/proc/thread-self/ns/net"

// newNamespace makes one with lo up.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	needRoot(t)
	var ns namespace
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		var err error
		ns.file, err = os.Open(thisNetwork)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.file.Close() })
	ns.run(t, "ip", "link", "set", "lo", "up")
	return ns
}

// onOwnThread runs f on a thread that goes back to its network namespace, and
// dies where it cannot.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		old, err := os.Open(thisNetwork)
		if err != nil {
			result <- err
			return
		}
		defer old.Close()
		err = f()
		if unix.Setns(int(old.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// do runs f in the namespace, from wherever the caller is.
func (ns namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// enter puts the test's own goroutine into the namespace until it ends.
func (ns namespace) enter(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	old, err := os.Open(thisNetwork)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("setns: %v", err)
	}
	t.Cleanup(func() {
		defer old.Close()
		if unix.Setns(int(old.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	})
}

// run runs a program in the namespace and returns what it printed.
func (ns namespace) run(t *testing.T, words ...string) string {
	t.Helper()
	var out []byte
	err := ns.do(func() (err error) {
		out, err = exec.Command(words[0], words[1:]...).Output()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v, printed %q", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// The addresses of the pod, of what is outside it, and of another host there.
const (
	pod4, pod6         = "10.1.0.2", "fd00:1::2"
	outside4, outside6 = "10.1.0.1", "fd00:1::1"
	other4, other6     = "10.1.0.3", "fd00:1::3"
)

// newPod makes two namespaces joined by a veth pair, and enters the pod's.
func newPod(t *testing.T) (pod, outside namespace) {
	t.Helper()
	pod, outside = newNamespace(t), newNamespace(t)
	peer := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), outside.file.Fd())
	pod.run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", peer)
	pod.address(t, pod4, pod6)
	outside.address(t, outside4, outside6)
	outside.address(t, other4, other6)
	pod.enter(t)
	return pod, outside
}

func (ns namespace) address(t *testing.T, v4, v6 string) {
	t.Helper()
	ns.run(t, "ip", "address", "add", v4+"/24", "dev", "eth0")
	ns.run(t, "ip", "address", "add", v6+"/64", "dev", "eth0", "nodad")
	ns.run(t, "ip", "link", "set", "eth0", "up")
}
