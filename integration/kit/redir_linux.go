package kit

import (
	"bufio"
	"encoding/json"
	"io"
	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// CreateRedirPods is a namespace of a test's own with the pods of redir.yaml, and
// their addresses.
func CreateRedirPods(t *testing.T) (namespace, app, other string) {
	t.Helper()
	RequireOwnCluster(t, "pods can be called, and looked into,")
	namespace = CreateNamespace(t)
	ApplyManifest(t, namespace, ReadManifest(t, "redir.yaml"))
	WaitForPods(t, namespace)
	ip := func(pod string) string {
		return RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.podIP}")
	}
	return namespace, ip("app"), ip("other")
}

// VerifyAnswer fails a test unless an address answers with a text.
func VerifyAnswer(t *testing.T, netns netnstest.Namespace, address, text string) {
	t.Helper()
	if got, err := FetchAnswer(netns, address); err != nil || !strings.Contains(got, text) {
		t.Errorf("GET %s = %q, %v, want %q", address, got, err, text)
	}
}

// FetchAnswer asks an address for / from a network namespace, with a connection of its
// own.
func FetchAnswer(netns netnstest.Namespace, address string) (string, error) {
	conn, err := DialFrom(netns, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}

	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// OpenConnections opens connections that stay.
func OpenConnections(t *testing.T, n int, address string) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, n)
	for i := range conns {
		conn, err := DialFrom(NodeNetwork, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
		if err := ExchangeText(conn, "hello"); err != nil {
			t.Fatal(err)
		}
	}

	return conns
}

// FindNetManager is the process of the net container of the pod app.
func FindNetManager(t *testing.T, namespace string) int {
	t.Helper()
	return FindContainerProcess(t, namespace, "app", ".status.ephemeralContainerStatuses[0].containerID")
}

// ReadStarted is what a pod's net manager printed.
func ReadStarted(t *testing.T, namespace, pod string) wire.Ready {
	t.Helper()
	name := RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.spec.ephemeralContainers[0].name}")
	var started wire.Ready
	line, _, _ := strings.Cut(RunKubectl(t, "logs", "-n", namespace, pod, "-c", name), "\n")
	if err := json.Unmarshal([]byte(line), &started); err != nil {
		t.Fatalf("first line of the log %q: %v", line, err)
	}
	return started
}
