package integration

import (
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirSlowCallersInSmallPod redirects three ports of a pod that is limited to 96 MiB and whose
// application holds 40, and has 4,096 callers of each that never read their answers. Nothing is killed,
// and nobody is reset: the application has those for whom the manager has no memory.
func TestRedirSlowCallersInSmallPod(t *testing.T) {
	kit.RequireOwnCluster(t, "a pod whose memory is measured on this machine")
	namespace := kit.CreatePods(t, "memory.yaml")
	address := kit.ReadPodField(t, namespace, "memory", "{.status.podIP}")
	pod := kit.FindPodCgroup(t, namespace, "memory")

	answer := strings.Repeat("0123456789abcdef", 16<<10)
	here := kit.StartLocalServer(t, kit.SayWord(answer))
	ports := []string{"7000", "7001", "7002"}
	args := []string{"-n", namespace, "memory", "-q"}
	for _, port := range ports {
		args = append(args, port+":"+here.Port)
	}
	redir := kit.StartRedirects(t, len(ports), args...)
	pid := kit.FindContainerProcess(t, namespace, "memory", "{.status.ephemeralContainerStatuses[0].containerID}")
	stop := kit.FollowMemory(t, pid)

	const callers = 4096
	conns := callSlowly(t, address, ports, callers)
	var laptop, application, reset int
	kit.WaitUntil(t, "512 answers of the laptop's, or a reset", func() bool {
		laptop, application, reset = countAnswers(conns)
		return laptop >= 512 || reset > 0
	})
	t.Logf("of %d callers: laptop %d, application %d, reset %d", len(conns), laptop, application, reset)
	t.Logf("the manager's anonymous memory: %d KiB at most; the pod's: %d of %d KiB", stop(), pod.ReadUsage(t)>>10, pod.ReadLimit(t)>>10)

	if reset > 0 {
		t.Errorf("%d of %d callers were reset, want none", reset, len(conns))
	}
	verifyNobodyKilled(t, namespace, "memory", pod)
	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}
}

// callSlowly connects many callers from the node to each of several ports, none of which reads.
func callSlowly(t *testing.T, address string, ports []string, many int) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, many*len(ports))
	var all sync.WaitGroup
	for p, port := range ports {
		all.Go(func() {
			for i := range many {
				conn, err := kit.DialFrom(kit.NodeNetwork, address+":"+port)
				if err != nil {
					t.Errorf("caller %d of port %s: %v", i, port, err)
					return
				}
				_ = conn.SetReadBuffer(4 << 10)
				conns[p*many+i] = conn
				t.Cleanup(func() { _ = conn.Close() })
			}
		})
	}

	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// countAnswers counts the connections by who has them: the laptop answers, the application never
// does.
func countAnswers(conns []*net.TCPConn) (laptop, application, reset int) {
	for _, conn := range conns {
		switch err := peekByte(conn); {
		case err == nil:
			laptop++
		case errors.Is(err, syscall.EAGAIN):
			application++
		default:
			reset++
		}
	}
	return laptop, application, reset
}

// peekByte returns nil if a connection has something to read, and EAGAIN if it has nothing yet.
func peekByte(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}

	var peekErr error
	err = raw.Control(func(fd uintptr) {
		_, _, peekErr = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return errors.Join(err, peekErr)
}
