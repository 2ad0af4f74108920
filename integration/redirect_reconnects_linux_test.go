package integration

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// lossyRedirect is a redirect through a proxy that can be cut, with connections that are open.
type lossyRedirect struct {
	*kit.RedirProcess
	namespace, app string
	proxy          *kit.Proxy
	conns          []*net.TCPConn
}

// startLossyRedirect redirects an echo at port 7000, with connections that are open, and HTTP at port
// 8080.
func startLossyRedirect(t *testing.T, conns int, flags ...string) *lossyRedirect {
	t.Helper()
	namespace, app, _ := kit.CreateRedirPods(t)
	echo, answer := kit.StartLocalServer(t, kit.EchoBytes), kit.StartLocalServer(t, kit.AnswerRequest)
	proxy, through := kit.StartProxy(t)
	args := append([]string{"-n", namespace, "app", "7000:" + echo.Port, "8080:" + answer.Port, "-q"}, through...)
	r := &lossyRedirect{kit.StartRedirects(t, 2, append(args, flags...)...), namespace, app, proxy, nil}
	r.conns = kit.OpenConnections(t, conns, app+":7000", "before")
	return r
}

// waitForReturn waits until all works again, and fails the test for what it cost. More connections may
// have been open than the test knows: those that tried which end answers.
func (r *lossyRedirect) waitForReturn(t *testing.T, kept, cut int) {
	t.Helper()
	r.waitForLoss(t)
	back := r.WaitForEvent("reconnected")
	t.Logf("connected again after %.1f s; kept: %d, cut: %d", back.Seconds, back.Kept, back.Cut)
	if back.Kept < kept || back.Cut < cut || cut == 0 && back.Cut > 0 || back.Renewed != (cut > 0) {
		t.Errorf("event %+v, want %d connections kept and %d cut", back, kept, cut)
	}
	if cut == 0 {
		for _, conn := range r.conns {
			if err := kit.ExchangeText(conn, "after"); err != nil {
				t.Errorf("a connection that was open: %v", err)
			}
		}
	}
	kit.WaitForAnswer(t, kit.NodeNetwork, r.app+":8080", kit.FromLaptop)
}

// waitForLoss waits until the user is told that the connection is lost.
func (r *lossyRedirect) waitForLoss(t *testing.T) {
	t.Helper()
	lost := r.WaitForEvent("disconnected")
	t.Logf("lost: %s", lost.Error)
	if lost.Error == "" || strings.Contains(lost.Error, "EOF") {
		t.Errorf("event %+v, want a cause in words", lost)
	}
}

// waitForReset waits until an open connection is reset.
func (r *lossyRedirect) waitForReset(t *testing.T) {
	t.Helper()
	for _, conn := range r.conns {
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection that was open: %v, want a reset", err)
		}
	}
}

// waitForApp waits until new connections reach the application.
func (r *lossyRedirect) waitForApp(t *testing.T) {
	t.Helper()
	calls := kit.StartCalls(t, r.app+":8080")
	took := calls.WaitForAnswer(t, time.Now(), kit.FromApp)
	t.Logf("the application answered after %s: %s", took, calls.CountAnswers())
}

func (r *lossyRedirect) end(t *testing.T) {
	t.Helper()
	if got := r.Interrupt(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}
}

// TestRedirReconnects loses the connection in every way in which a laptop does, side by side.
func TestRedirReconnects(t *testing.T) {
	kit.RequireOwnCluster(t, "pods that can be called, and looked into, from this machine")
	for name, test := range map[string]func(t *testing.T){
		"proxy cuts every 5s":          reconnectWhileCut,
		"server away for a moment":     reconnectAfterMoment,
		"server away for 12s":          reconnectAfterPatience,
		"kdiag stopped":                reconnectAfterStop,
		"kdiag stopped for too long":   reconnectAfterLongStop,
		"server away for too long":     reconnectAfterGrace,
		"from another address":         reconnectFromElsewhere,
		"interrupted while it is away": interruptWhileAway,
		"manager killed":               reconnectToNewManager,
		"pod deleted":                  giveUpWithPod,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// reconnectWhileCut loses nothing and resets nobody while every connection is cut every 5 s.
func reconnectWhileCut(t *testing.T) {
	const echoes, cuts, size = 200, 4, 64 << 20
	r := startLossyRedirect(t, echoes)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i, conn := range r.conns {
		all.Go(func() { echoUntil(t, conn, i, stop) })
	}

	address := r.app + ":7000"
	all.Go(func() {
		for round := 0; ; round++ {
			select {
			case <-stop:
				return
			default:
				transferBytes(t, kit.OpenConnection(t, kit.NodeNetwork, address), uint64(round), size, 2*time.Minute)
			}
		}
	})

	for range cuts {
		<-time.After(5 * time.Second) // the proxy's interval
		r.proxy.DropConnections()
		r.waitForLoss(t)
		if back := r.WaitForEvent("reconnected"); back.Cut != 0 || back.Kept < echoes {
			t.Errorf("event %+v, want all of %d connections kept", back, echoes)
		}
	}
	close(stop)
	all.Wait()
	r.end(t)
}

// echoUntil sends random texts over a connection and wants each back, until stop is closed.
func echoUntil(t *testing.T, conn *net.TCPConn, seed int, stop <-chan struct{}) {
	dice := rand.New(rand.NewPCG(uint64(seed), 1))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		text := fmt.Sprintf("%0*d", 1+dice.IntN(2000), dice.Int64())
		if err := kit.ExchangeText(conn, text); err != nil {
			t.Errorf("connection %d: %v", seed, err)
			return
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// transferBytes sends random bytes to an echo and compares what comes back.
func transferBytes(t *testing.T, conn *net.TCPConn, seed uint64, size int64, limit time.Duration) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	sent, got := sha256.New(), sha256.New()
	var all sync.WaitGroup
	all.Go(func() {
		source := io.LimitReader(rand.NewChaCha8([32]byte{byte(seed)}), size)
		if _, err := io.Copy(io.MultiWriter(conn, sent), source); err != nil {
			t.Errorf("send: %v", err)
		}
		_ = conn.CloseWrite()
	})
	n, err := io.Copy(got, struct{ io.Reader }{conn})
	all.Wait()
	if err != nil || n != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes of %d came back, %v; equal: %t", n, size, err, bytes.Equal(sent.Sum(nil), got.Sum(nil)))
	}
}

func reconnectAfterMoment(t *testing.T) {
	r := startLossyRedirect(t, 20)
	r.proxy.SetAway(true)
	<-time.After(2 * time.Second) // as long as a network blinks
	r.proxy.SetAway(false)
	r.waitForReturn(t, 20, 0)
	r.end(t)
}

func reconnectAfterPatience(t *testing.T) {
	r := startLossyRedirect(t, 3)
	r.proxy.SetAway(true)
	r.waitForApp(t) // 10 s later
	r.proxy.SetAway(false)
	r.waitForReturn(t, 3, 0)
	r.end(t)
}

func reconnectAfterStop(t *testing.T) {
	r := startLossyRedirect(t, 3)
	r.Signal(syscall.SIGSTOP)
	r.waitForApp(t)
	r.Signal(syscall.SIGCONT)
	r.waitForReturn(t, 3, 0)
	r.end(t)
}

func reconnectAfterLongStop(t *testing.T) {
	r := startLossyRedirect(t, 3, "--grace=5s")
	r.Signal(syscall.SIGSTOP)
	r.waitForReset(t)
	r.waitForApp(t)
	r.Signal(syscall.SIGCONT)
	r.waitForReturn(t, 0, 3)
	r.end(t)
}

func reconnectAfterGrace(t *testing.T) {
	r := startLossyRedirect(t, 3, "--grace=2s", "--on-disconnect=hold")
	r.proxy.SetAway(true)
	r.waitForReset(t)
	r.waitForApp(t)
	r.proxy.SetAway(false)
	r.waitForReturn(t, 0, 3)
	r.end(t)
}

func reconnectFromElsewhere(t *testing.T) {
	r := startLossyRedirect(t, 3)
	r.proxy.ConnectFrom("127.0.0.2")
	r.proxy.DropConnections()
	r.waitForReturn(t, 3, 0)
	r.end(t)
}

func interruptWhileAway(t *testing.T) {
	r := startLossyRedirect(t, 3, "--on-disconnect=hold", "--grace=2s")
	r.proxy.SetAway(true)
	r.waitForLoss(t)
	r.end(t)
	if e := r.WaitForEvent("summary"); e.Connections < 3 {
		t.Errorf("event %+v, want the connections that there were", e)
	}
	r.waitForApp(t)
}

func reconnectToNewManager(t *testing.T) {
	r := startLossyRedirect(t, 3)
	if err := syscall.Kill(kit.FindNetManager(t, r.namespace), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.waitForReturn(t, 0, 3)
	r.end(t)
}

func giveUpWithPod(t *testing.T) {
	r := startLossyRedirect(t, 1)
	kit.RunKubectl(t, "delete", "pod", "-n", r.namespace, "app", "--now")
	if got := r.WaitForEnd(); got.Code != 1 || !strings.HasPrefix(got.Stderr, "kdiag: pod "+r.namespace+"/app was deleted\n") {
		t.Errorf("redir: %v, want code 1 and that the pod was deleted", got)
	}
}

// TestRedirComponentsRestart keeps connections while the kubelet, and then the API server, restarts.
func TestRedirComponentsRestart(t *testing.T) { surviveRestarts(t, "kubelet", "kube-apiserver") }

// TestRedirContainerdRestarts keeps connections while containerd restarts, which carries the
// port-forward. Containers live on without it.
func TestRedirContainerdRestarts(t *testing.T) { surviveRestarts(t, "containerd") }

// surviveRestarts restarts components, one after another, beside connections that are open.
func surviveRestarts(t *testing.T, names ...string) {
	t.Helper()
	kit.RequireOwnCluster(t, "components that may be stopped")
	r := startLossyRedirect(t, 10)
	for _, name := range names {
		began := time.Now()
		restartComponent(t, name)
		t.Logf("%s was back after %s", name, time.Since(began).Round(time.Millisecond))
		r.waitForReturn(t, 10, 0)
	}
	r.end(t)
}

// restartComponent kills a component of the cluster and starts it again.
func restartComponent(t *testing.T, name string) {
	t.Helper()
	for _, args := range [][]string{{"stop", "--kill", name}, {"start", name}} {
		got := kit.RunCommand(t, "", kit.Environment(), kit.ClusterPath("bin/cluster"), append([]string{"--dir", kit.ClusterPath("")}, args...)...)
		if got.Code != 0 {
			t.Fatalf("cluster %q: %v", args, got)
		}
	}
}
