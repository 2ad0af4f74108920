package integration

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// probedPod is a pod of probes.yaml whose port is redirected.
type probedPod struct {
	namespace, name string
	port            int // redirected
	address         string
	redir           *kit.RedirProcess
	came            atomic.Int64 // connections that reached the program on the laptop
	arrived         chan struct{}
}

// TestRedirProbes redirects ports that the kubelet probes in every way, before the application has
// started. Then nothing listens on the laptop, a program there takes connections and is mute, and
// kdiag is stopped. No probe fails, and none reaches the program.
func TestRedirProbes(t *testing.T) {
	kit.RequireOwnCluster(t, "pods that can be called from this machine")
	namespace := kit.CreatePods(t, "probes.yaml")
	t.Run("kinds", func(t *testing.T) {
		for name, port := range map[string]int{"http": 8080, "agent": 8080, "https": 8443, "tcp": 8080, "grpc": 8080, "h2c": 8080, "grpctls": 8443} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := &probedPod{namespace: namespace, name: name, port: port, arrived: make(chan struct{}, 100)}
				p.address = kit.ReadPodField(t, namespace, name, "{.status.podIP}")
				p.startUnderRedirect(t)
				p.keepProbing(t)
				p.callOnce(t)
				p.endRedirect(t)
			})
		}
	})
}

// startUnderRedirect redirects the port to nothing, and lets the application become ready then.
func (p *probedPod) startUnderRedirect(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()

	p.redir = kit.StartRedir(t, nil, "-n", p.namespace, p.name, fmt.Sprintf("%d:%d", p.port, local),
		"--on-disconnect=hold", "--grace=30m")
	e := p.redir.WaitForEvent("redirect")
	if told := string(e.Probes); e.ProbesTo != "app" || !strings.Contains(told, `"liveness"`) || !strings.Contains(told, `"startup"`) {
		t.Errorf("the redirect tells of probes %s to %q, want all of them, to app", told, e.ProbesTo)
	}

	// A probe of TCP wants no answer that could be withheld.
	if p.name != "tcp" {
		p.awaitProbes(t, "Startup", 2)
		p.post(t, "/start")
	}
	kit.WaitForPodField(t, p.namespace, p.name, `{.status.containerStatuses[0].ready}`, "true")
	p.awaitProbes(t, "Liveness", 3)

	// Now a program listens, and is mute.
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(local))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go p.takeAndSayNothing(listener)
}

// takeAndSayNothing counts connections, and answers none.
func (p *probedPod) takeAndSayNothing(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		p.came.Add(1)
		p.arrived <- struct{}{}
		go func() { defer conn.Close(); _, _ = io.Copy(io.Discard, conn) }()
	}
}

// keepProbing has the pod probed while the program is mute and while kdiag is stopped.
func (p *probedPod) keepProbing(t *testing.T) {
	since := p.readySince(t)
	p.awaitProbes(t, "Liveness", 4)
	p.redir.Signal(syscall.SIGSTOP)
	p.awaitProbes(t, "Liveness", 8)
	p.awaitProbes(t, "Readiness", 1)
	p.redir.Signal(syscall.SIGCONT)

	for _, kind := range []string{"Liveness", "Readiness"} {
		if failed := p.countProbes(t, kind, "failed"); failed != 0 {
			t.Errorf("%d probes of %s failed", failed, kind)
		}
	}
	if now := p.readySince(t); now != since {
		t.Errorf("the pod is ready since %s, and was since %s", now, since)
	}
	if restarts := kit.ReadPodField(t, p.namespace, p.name, "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the application restarted %s times", restarts)
	}
	if came := p.came.Load(); came != 0 {
		t.Errorf("%d connections came to the laptop, want none: only the kubelet has called", came)
	}
}

// readySince tells when the pod became ready last.
func (p *probedPod) readySince(t *testing.T) string {
	return kit.ReadPodField(t, p.namespace, p.name, `{.status.conditions[?(@.type=="Ready")].lastTransitionTime}`)
}

// callOnce calls from the node's own address, as clients of a NodePort seem to. Where that cannot be
// a probe it reaches the laptop.
func (p *probedPod) callOnce(t *testing.T) {
	conn := kit.OpenConnection(t, kit.NodeNetwork, net.JoinHostPort(p.address, strconv.Itoa(p.port)))
	switch p.name {
	case "grpc":
		return // HTTP/2 from there goes to the application
	case "https", "grpctls":
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example"})
		go func() { _ = client.HandshakeContext(t.Context()) }()
	default:
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}

	kit.WaitUntil(t, "the call to reach the laptop", func() bool { return p.came.Load() == 1 })
}

// endRedirect wants the summary to have the probes.
func (p *probedPod) endRedirect(t *testing.T) {
	if got := p.redir.Interrupt(); got.Code != 0 {
		t.Errorf("after Ctrl-C: %v", got)
	}
	e := p.redir.WaitForEvent("summary")
	var got struct{ Probes int64 }
	if err := decodeProbes(e, &got.Probes); err != nil {
		t.Fatal(err)
	}

	ambiguous := slices.Contains([]string{"https", "grpctls", "grpc"}, p.name)
	if ambiguous && e.Ambiguous < 15 || !ambiguous && got.Probes < 15 {
		t.Errorf("summary: probes %d, ambiguous %d, want the probes in one of them", got.Probes, e.Ambiguous)
	}
	if failed := p.countProbes(t, "Liveness", "failed"); failed != 0 {
		t.Errorf("%d probes failed as the redirect ended", failed)
	}
}

// decodeProbes reads the summary's count, which is not there for none.
func decodeProbes(e kit.RedirEvent, count *int64) (err error) {
	if len(e.Probes) > 0 {
		*count, err = strconv.ParseInt(string(e.Probes), 10, 64)
	}
	return err
}

// awaitProbes waits until the kubelet has probed some more times.
func (p *probedPod) awaitProbes(t *testing.T, kind string, more int64) {
	t.Helper()
	before := p.countAllProbes(t, kind)
	kit.WaitUntil(t, fmt.Sprintf("%d probes of %s of %s", more, kind, p.name), func() bool {
		return p.countAllProbes(t, kind) >= before+more
	})
}

func (p *probedPod) countAllProbes(t *testing.T, kind string) (count int64) {
	t.Helper()
	for _, result := range []string{"successful", "failed", "unknown"} {
		count += p.countProbes(t, kind, result)
	}
	return count
}

// countProbes asks the kubelet how often it has probed with a result.
func (p *probedPod) countProbes(t *testing.T, kind, result string) int64 {
	t.Helper()
	metrics := kit.RunKubectl(t, "get", "--raw", "/api/v1/nodes/kdiag-node/proxy/metrics/probes")
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "prober_probe_total{") {
			continue
		}
		wanted := true
		for _, label := range []string{`namespace="` + p.namespace, `pod="` + p.name, `probe_type="` + kind, `result="` + result} {
			wanted = wanted && strings.Contains(line, label+`"`)
		}
		if words := strings.Fields(line); wanted && len(words) == 2 {
			count, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				t.Fatalf("metric %q: %v", line, err)
			}
			return int64(count)
		}
	}
	return 0
}

// post sends a request to a port of the pod that is not redirected.
func (p *probedPod) post(t *testing.T, path string) {
	t.Helper()
	port := 8443
	if p.port == port {
		port = 8080
	}
	var conn net.Conn = kit.OpenConnection(t, kit.NodeNetwork, net.JoinHostPort(p.address, strconv.Itoa(port)))
	if port == 8443 {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	defer conn.Close()

	if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("POST %s = %v, %v", path, response, err)
	}
	_ = response.Body.Close()
}
