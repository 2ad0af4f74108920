//go:build bench

package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/kit"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// plainForwardKey names the variable that makes the test program a port-forward:
// the API server's address, its name in TLS, the namespace, the pod and the port.
const plainForwardKey = "KDIAG_PLAIN_FORWARD"

// startPlainForward starts a port-forward as a process of its own, so that its CPU
// time is counted apart, and returns the address at which it listens.
func startPlainForward(t *testing.T, server, tlsName, namespace, pod, port string) (process *kit.Process, address string) {
	t.Helper()
	words := strings.Join([]string{server, tlsName, namespace, pod, port}, " ")
	process = kit.StartProgram(t, []string{plainForwardKey + "=" + words}, os.Args[0], "-test.run=^TestPlainForward$", "-test.timeout=0")

	_, line, _ := strings.Cut(process.WaitForLines(1)[0], "Forwarding from ")
	address, _, found := strings.Cut(line, " ")
	if !found {
		t.Fatalf("port-forward: %s%s", process.Stdout, process.Stderr)
	}

	return process, address
}

// TestPlainForward is what startPlainForward starts. It does what "kubectl
// port-forward" does, with the same packages, until it is terminated.
func TestPlainForward(t *testing.T) {
	words := strings.Fields(os.Getenv(plainForwardKey))
	if len(words) != 5 {
		return
	}

	config, err := clientcmd.BuildConfigFromFlags("", kit.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	config.Host, config.ServerName = words[0], words[1]

	dialer, err := dialPlainForward(config, words[2], words[3])
	if err != nil {
		t.Fatal(err)
	}

	stop, stopping := make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(stopping, syscall.SIGTERM)
	go func() {
		<-stopping
		close(stop)
	}()

	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{":" + words[4]}, stop, make(chan struct{}), os.Stdout, os.Stderr)
	if err == nil {
		err = forwarder.ForwardPorts()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "port-forward:", err)
	}
}

// dialPlainForward returns kubectl's dialer: a WebSocket, else SPDY.
func dialPlainForward(config *rest.Config, namespace, pod string) (httpstream.Dialer, error) {
	at, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	at = at.JoinPath("api/v1/namespaces", namespace, "pods", pod, "portforward")

	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}

	webSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(at, config)
	if err != nil {
		return nil, err
	}

	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	return portforward.NewFallbackDialerForStreaming(webSocket, overSPDY, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
