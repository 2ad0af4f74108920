// Package netnstest gives tests network namespaces of their own, and lets them act
// in others. Only tests use it.
package netnstest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"kdiag/integration/testenv"

	"golang.org/x/sys/unix"
)

// Namespace names a network namespace by a path that leads to it
// (network_namespaces(7)).
type Namespace string

// currentNamespace leads to the namespace of the thread that opens it.
const currentNamespace = Namespace("/proc/thread-self/ns/net")

// New creates a namespace with lo up. It exists until the test ends and nothing is
// left in it.
func New(t testing.TB) Namespace {
	t.Helper()
	testenv.MustHaveRoot(t)

	var file *os.File
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}

		var err error
		file, err = os.Open(string(currentNamespace))
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

// Do runs f in the namespace, wherever the caller is. Sockets that f opens stay in
// the namespace.
func (ns Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := ns.join(); err != nil {
			return err
		}
		return f()
	})
}

// Serve listens on a TCP address in the namespace and handles each connection on a
// goroutine of its own, until the test ends.
func (ns Namespace) Serve(t testing.TB, address string, handle func(net.Conn)) {
	t.Helper()
	ns.serveWith(t, net.ListenConfig{}, address, handle)
}

// serveWith is Serve with a socket of the configuration.
func (ns Namespace) serveWith(t testing.TB, config net.ListenConfig, address string, handle func(net.Conn)) {
	t.Helper()

	var listener net.Listener
	err := ns.Do(func() (err error) {
		listener, err = config.Listen(t.Context(), "tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })

	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
}

// Enter moves the test's own goroutine into the namespace until the test ends.
func (ns Namespace) Enter(t testing.TB) {
	t.Helper()
	goBack, err := lockThread()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(goBack)

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

// join moves the calling thread into the namespace. The caller must have locked it.
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

// lockThread locks the goroutine's thread, so that it may leave its namespace.
// goBack returns to that namespace and unlocks the thread. A thread that cannot
// return stays locked, so that it dies with its goroutine.
func lockThread() (goBack func(), err error) {
	runtime.LockOSThread()
	old, err := os.Open(string(currentNamespace))
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

// onOwnThread runs f on a thread that may leave its namespace, and waits for it.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		goBack, err := lockThread()
		if err == nil {
			err = f()
			goBack()
		}

		result <- err
	}()

	return <-result
}
