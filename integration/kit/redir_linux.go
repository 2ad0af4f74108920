package kit

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"
)

// CreateRedirPods creates a namespace with the pods of redir.yaml, and returns
// their addresses.
func CreateRedirPods(t *testing.T) (namespace, app, other string) {
	t.Helper()
	RequireOwnCluster(t, "pods that can be called, and looked into, from this machine")
	namespace = CreatePods(t, "redir.yaml")
	return namespace, ReadPodField(t, namespace, "app", "{.status.podIP}"), ReadPodField(t, namespace, "other", "{.status.podIP}")
}

// FetchAnswer asks an address for / from a network namespace, through a
// connection of its own.
func FetchAnswer(from netnstest.Namespace, address string) (string, error) {
	return fetchAnswerWithin(from, address, callerPatience)
}

// fetchAnswerWithin does the same, and gives up after a limit.
func fetchAnswerWithin(from netnstest.Namespace, address string, limit time.Duration) (string, error) {
	deadline := time.Now().Add(limit)
	conn, err := dialFromWithin(from, address, min(limit, dialPatience))
	if err != nil {
		return "", err
	}
	defer conn.Close()

	_ = conn.SetDeadline(deadline)
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

// VerifyAnswer fails the test unless an address answers with a text.
func VerifyAnswer(t *testing.T, from netnstest.Namespace, address, text string) {
	t.Helper()
	if got, err := FetchAnswer(from, address); err != nil || !strings.Contains(got, text) {
		t.Errorf("GET %s = %q, %v, want %q", address, got, err, text)
	}
}

// WaitForAnswer waits until an address answers with a text.
func WaitForAnswer(t *testing.T, from netnstest.Namespace, address, text string) {
	t.Helper()
	WaitUntil(t, "an answer "+text+" from "+address, func() bool {
		got, err := FetchAnswer(from, address)
		return err == nil && strings.Contains(got, text)
	})
}

// OpenConnections opens connections from the node, sends a text there and back
// through each, and leaves them open until the test ends.
func OpenConnections(t *testing.T, many int, address, text string) []*net.TCPConn {
	t.Helper()
	conns := make([]*net.TCPConn, many)
	for i := range conns {
		conns[i] = OpenConnection(t, NodeNetwork, address)
		if err := ExchangeText(conns[i], text); err != nil {
			t.Fatal(err)
		}
	}
	return conns
}

// FindNetManager returns the process id of the manager in the net container of
// the pod "app".
func FindNetManager(t *testing.T, namespace string) int {
	t.Helper()
	return FindContainerProcess(t, namespace, "app", "{.status.ephemeralContainerStatuses[0].containerID}")
}

// ReadManagerLog reads what the net manager of the pod "app" has printed, and
// decodes the line with which it started.
func ReadManagerLog(t *testing.T, namespace string) (log string, started wire.Ready) {
	t.Helper()
	container := ReadPodField(t, namespace, "app", "{.spec.ephemeralContainers[0].name}")
	log = RunKubectl(t, "logs", "-n", namespace, "app", "-c", container)
	line, _, _ := strings.Cut(log, "\n")
	if err := json.Unmarshal([]byte(line), &started); err != nil {
		t.Fatalf("first line of the log %q: %v", line, err)
	}
	return log, started
}
