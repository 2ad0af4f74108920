package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// maxManagerMemory limits the manager's memory, in KiB: the pod's own limit has to
// bear it.
const maxManagerMemory = 52 << 10

// TestRedirThousand redirects 1,000 connections at once, each of which echoes
// 64 KiB.
func TestRedirThousand(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "-q")
	pid := kit.FindNetManager(t, namespace)
	stop := kit.FollowMemory(t, pid)

	const many = 1000
	conns := make([]*net.TCPConn, many)
	err := kit.NodeNetwork.Do(func() error {
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
	if most := stop(); most > maxManagerMemory {
		t.Errorf("the manager took %d KiB of anonymous memory, over %d", most, maxManagerMemory)
	} else {
		t.Logf("the manager's anonymous memory: %d KiB at most", most)
	}

	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}
}

// TestRedirTenThousand redirects 10,000 short connections, and looks for what they
// leave behind in the manager and in the kernel.
func TestRedirTenThousand(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.SayWord("hello"))
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "-q")
	pid, netns := kit.FindNetManager(t, namespace), kit.FindPodNetwork(t, namespace, "app")

	fetchShort(t, app+":7000", 400)
	kit.WaitUntil(t, "the first connections to be gone", func() bool { return kit.CountConnections(pid) == 0 })
	files := kit.CountDescriptors(pid)
	fetchShort(t, app+":7000", 10000)
	kit.WaitUntil(t, "all connections to be gone", func() bool { return kit.CountConnections(pid) == 0 && kit.CountDescriptors(pid) <= files })
	if most := kit.ReadAnonymousMemory(t, pid); most > maxManagerMemory {
		t.Errorf("the manager has %d KiB of anonymous memory after them, over %d", most, maxManagerMemory)
	}

	redir.Interrupt()

	// The entries of redirected connections go with the connections.
	kit.WaitUntil(t, "no established entry in conntrack", func() bool {
		return !strings.Contains(netns.Run(t, "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED", "--dport", "7000"), "dport=7000")
	})
}

// fetchShort makes short connections from the node, one after the other in each of
// a few lanes, and wants "hello" from each.
func fetchShort(t *testing.T, address string, many int) {
	t.Helper()
	const lanes = 4
	var all sync.WaitGroup
	for range lanes {
		all.Go(func() {
			err := kit.NodeNetwork.Do(func() error {
				for range many / lanes {
					if err := fetchHello(address); err != nil {
						return err
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

// fetchHello connects to an address that says "hello".
func fetchHello(address string) error {
	conn, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()

	kit.SetPatience(conn)
	got, err := io.ReadAll(conn)
	// A reset in the end, so that no TIME-WAIT holds the caller's port.
	_ = conn.(*net.TCPConn).SetLinger(0)
	if err != nil || string(got) != "hello" {
		return fmt.Errorf("got %q, %w", got, err)
	}

	return nil
}

// TestRedirWarnsOfConntrack says so where the pod has more sockets than half of what the kernel has
// room for in its table of connections.
func TestRedirWarnsOfConntrack(t *testing.T) {
	kit.RequireOwnCluster(t, "the kernel's own settings")
	namespace, _, _ := kit.CreateRedirPods(t)
	// Both ends are in the pod, so that no other namespace tracks them; and they are many more than
	// any other tracks, which has the same limit.
	const connections = 6000
	inPod := kit.FindPodNetwork(t, namespace, "app")
	for range connections {
		kit.OpenConnection(t, inPod, "127.0.0.1:7000")
	}

	lowerSetting(t, "/proc/sys/net/netfilter/nf_conntrack_max", 3*connections)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "7000:"+here.Port)
	e := redir.WaitForEvent("error")
	if !strings.Contains(e.Error, "has room for ") || !strings.Contains(e.Error, "it drops new ones") {
		t.Errorf("event %+v, want how little room there is", e)
	}
	redir.Interrupt()
}

// lowerSetting lowers a setting of the kernel for the length of a test.
func lowerSetting(t *testing.T, path string, value int) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err == nil {
		t.Cleanup(func() { _ = os.WriteFile(path, before, 0) })
		err = os.WriteFile(path, []byte(strconv.Itoa(value)), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}
