// Package netnstest gives tests network namespaces of their own, and has them
// act in others. It is for tests alone.
package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NeedRoot skips a test without root, unless all tests were asked for.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Unmet(t, "needs root")
	}
}

// Unmet skips a test for want of something, or fails it where all tests are
// asked for.
func Unmet(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Namespace is a network namespace, by a path that leads to it
// (network_namespaces(7)).
type Namespace string

const thisThreads = Namespace("/proc/thread-self/ns/net")

// New makes a namespace with lo up, which goes with the test and what is left
// in it.
func New(t testing.TB) Namespace {
	t.Helper()
	NeedRoot(t)
	var file *os.File
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		var err error
		file, err = os.Open(string(thisThreads))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { file.Close() })
	ns := Namespace(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()))
	ns.Run(t, "ip", "link", "set", "lo", "up")
	return ns
}

// Do runs f in the namespace, from wherever the caller is. Its sockets stay
// there.
func (ns Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := ns.join(); err != nil {
			return err
		}
		return f()
	})
}

// Enter puts the test's own goroutine into the namespace until it ends.
func (ns Namespace) Enter(t testing.TB) {
	t.Helper()
	back, err := leave()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(back)
	if err := ns.join(); err != nil {
		t.Fatal(err)
	}
}

// Run runs a program in the namespace and returns what it printed.
func (ns Namespace) Run(t testing.TB, words ...string) string {
	t.Helper()
	var out []byte
	err := ns.Do(func() (err error) {
		out, err = exec.Command(words[0], words[1:]...).Output()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v, printed %q", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// join moves the thread, which the caller has locked.
func (ns Namespace) join() error {
	fd, err := unix.Open(string(ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", ns, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", ns, err)
	}
	return nil
}

// leave locks the goroutine's thread, so that it may leave its namespace. Back
// returns there; a thread that cannot is never unlocked, and dies with its
// goroutine.
func leave() (back func(), err error) {
	runtime.LockOSThread()
	old, err := os.Open(string(thisThreads))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}

	return func() {
		defer old.Close()
		if unix.Setns(int(old.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}, nil
}

// onOwnThread runs f on a thread that may leave its namespace.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		back, err := leave()
		if err == nil {
			err = f()
			back()
		}
		result <- err
	}()
	return <-result
}
