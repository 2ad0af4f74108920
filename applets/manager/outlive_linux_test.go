package manager_test

import (
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

// terminateManager sends a manager what the kubelet sends it when its pod is deleted.
func terminateManager(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// hasEnded reports whether a process has ended, waited for or not.
func hasEnded(pid int) bool {
	stat, err := procfs.ReadStat(pid)
	return err != nil || stat.Dead()
}

// waitForManager fails the test unless a manager ends.
func waitForManager(t *testing.T, pid int) {
	t.Helper()
	if !runctest.WaitUntil(func() bool { return hasEnded(pid) }) {
		t.Error("the manager goes on although the application has ended")
	}
}

// waitForCleanUp waits until a manager has noticed SIGTERM: it says so when it goes on for a second.
func (b *podWithManager) waitForCleanUp(t *testing.T) {
	t.Helper()
	if !runctest.WaitUntil(func() bool { return hasEnded(b.pid) || strings.Contains(b.stderr.String(), "cleaning up") }) {
		t.Fatal("the manager does not notice SIGTERM")
	}
}

// startApplication runs a program in the pod with a socket of some kind, and returns what ends it.
func (b *podWithManager) startApplication(t *testing.T, network, address string) (end func()) {
	t.Helper()
	var socket io.Closer
	err := b.Do(func() (err error) {
		if network == "udp" {
			socket, err = net.ListenPacket(network, address)
		} else {
			socket, err = net.Listen(network, address)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = socket.Close() }
}

// TestNetOutlivesPodDeletion deletes a pod in which an application takes its time to end: the
// manager serves its user until then, whatever kind of socket the application is known by.
func TestNetOutlivesPodDeletion(t *testing.T) {
	sockets := map[string]string{"tcp": "127.0.0.1:0", "tcp6": "[::1]:0", "udp": "127.0.0.1:0", "unix": "@kdiag-test-application"}
	for network, address := range sockets {
		t.Run(network, func(t *testing.T) {
			b := newPodWithManager(t)
			endApplication := b.startApplication(t, network, address)
			session, err := b.openSession(t.Context(), b.dialNear)
			if err != nil {
				t.Fatal(err)
			}

			terminateManager(t, b.pid)
			b.waitForCleanUp(t)
			if err := session.Call(t.Context(), wire.RequestListeners, nil, nil); err != nil {
				t.Errorf("the manager while the application ends: %v, want an answer", err)
			}
			if another, err := b.openSession(t.Context(), b.dialNear); err != nil {
				t.Errorf("another session while the application ends: %v", err)
			} else {
				_ = another.Close()
			}

			endApplication()
			waitForManager(t, b.pid)
		})
	}
}

// TestNetEndsWithoutSession deletes a pod whose manager nobody uses.
func TestNetEndsWithoutSession(t *testing.T) {
	b := newPodWithManager(t)
	defer b.startApplication(t, "tcp", "127.0.0.1:0")()
	terminateManager(t, b.pid)
	waitForManager(t, b.pid)

	b = newPodWithManager(t)
	defer b.startApplication(t, "tcp", "127.0.0.1:0")()
	session, err := b.openSession(t.Context(), b.dialNear)
	if err != nil {
		t.Fatal(err)
	}
	terminateManager(t, b.pid)
	b.waitForCleanUp(t)
	_ = session.Close()
	waitForManager(t, b.pid)
}

// TestManagersDoNotWaitForEachOther deletes a pod in which two users redirect.
func TestManagersDoNotWaitForEachOther(t *testing.T) {
	one := newPodWithManager(t)
	other := newManagerIn(t, one.Namespace)
	endApplication := one.startApplication(t, "tcp", "127.0.0.1:0")
	for _, b := range []*podWithManager{one, other} {
		session, err := b.openSession(t.Context(), b.dialNear)
		if err != nil {
			t.Fatal(err)
		}
		attach := wire.Attach{ID: 1, Port: 8000 + uint16(b.pid%1000), Backend: "nft"}
		if err := session.Call(t.Context(), wire.RequestAttach, attach, nil); err != nil {
			t.Fatal(err)
		}
		terminateManager(t, b.pid)
	}

	one.waitForCleanUp(t)
	other.waitForCleanUp(t)
	endApplication()
	waitForManager(t, one.pid)
	waitForManager(t, other.pid)
}

// TestShellOutlivesPodDeletion deletes a pod while somebody is in a shell beside an application that
// takes its time to end.
func TestShellOutlivesPodDeletion(t *testing.T) {
	target := startContainer(t, runctest.ContainerSpec{Args: []string{"/busybox", "sleep", "100000"}})
	log := createLog(t)
	c := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
	waitForLine(t, log)
	terminal := c.StartTerminal(t, "/busybox", "cat")
	log = createLog(t)
	beside := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
	waitForLine(t, log)
	inBeside := beside.StartTerminal(t, "/busybox", "cat")

	terminateManager(t, c.PID)
	terminateManager(t, beside.PID)
	// Looks follow one another; ten idle looks of an ending manager would be over by then.
	waitForAge(t, inBeside.PID, 2*time.Second)
	if hasEnded(c.PID) || hasEnded(terminal.PID) || hasEnded(beside.PID) {
		t.Error("a manager or its shell has ended before the application")
	}

	if err := syscall.Kill(target.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitForManager(t, c.PID)
	waitForManager(t, beside.PID)
}

// TestIdleShellOutlivesPodDeletion deletes a pod while nobody is in a shell: whoever comes before the
// application has ended still gets one.
func TestIdleShellOutlivesPodDeletion(t *testing.T) {
	target := startContainer(t, runctest.ContainerSpec{Args: []string{"/busybox", "sleep", "100000"}})
	log := createLog(t)
	c := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
	waitForLine(t, log)
	log = createLog(t)
	beside := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
	waitForLine(t, log)

	terminateManager(t, c.PID)
	terminateManager(t, beside.PID)
	clock := target.StartTerminal(t, "/busybox", "cat")
	waitForAge(t, clock.PID, 2*time.Second)
	if hasEnded(c.PID) || hasEnded(beside.PID) {
		t.Error("a manager has ended before the application")
	}

	if err := syscall.Kill(target.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitForManager(t, c.PID)
	waitForManager(t, beside.PID)
}

// TestShellEndsWithApplication has a pod whose containers share their PID namespace, so that no
// kernel ends the manager with the application. Two users are in shells.
func TestShellEndsWithApplication(t *testing.T) {
	pause := map[string][]byte{"/pause": []byte("#!/busybox ash\nwhile :; do read x < /dev/pts/ptmx; done\n")}
	sandbox := startContainer(t, runctest.ContainerSpec{Args: []string{"/pause"}, Files: pause})
	application := startContainer(t, runctest.ContainerSpec{PIDsOf: sandbox, Args: []string{"/busybox", "sleep", "100000"}})
	if !runctest.WaitUntil(func() bool { stat, err := procfs.ReadStat(sandbox.PID); return err == nil && stat.Command == "pause" }) {
		t.Fatal("the sandbox has no name")
	}

	var managers, shells []int
	for range 2 {
		log := createLog(t)
		c := startContainer(t, runctest.ContainerSpec{PIDsOf: sandbox, Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
		waitForLine(t, log)
		managers, shells = append(managers, c.PID), append(shells, c.StartTerminal(t, "/busybox", "cat").PID)
	}

	for _, pid := range managers {
		terminateManager(t, pid)
	}
	waitForAge(t, shells[1], 2*time.Second)
	for _, pid := range append(managers, shells...) {
		if hasEnded(pid) {
			t.Errorf("process %d has ended before the application", pid)
		}
	}

	if err := syscall.Kill(application.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range managers {
		waitForManager(t, pid)
	}
}

// waitForLine waits until a manager has said that it is ready.
func waitForLine(t *testing.T, log *os.File) {
	t.Helper()
	if !runctest.WaitUntil(func() bool { text, _ := os.ReadFile(log.Name()); return strings.HasSuffix(string(text), "\n") }) {
		t.Fatal("the manager printed no line")
	}
}
