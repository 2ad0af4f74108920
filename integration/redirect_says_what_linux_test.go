package integration

import (
	"errors"
	"os"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirNamedPorts redirects a port by the name that its container gave it.
func TestRedirNamedPorts(t *testing.T) {
	namespace := kit.CreatePods(t, "takes.yaml")
	here := kit.StartLocalServer(t, kit.AnswerRequest)

	redir := kit.StartRedir(t, nil, "-n", namespace, "deploy/web", "web:"+here.Port)
	e := redir.WaitForEvent("redirect")
	if e.Redirect != "8080" || e.PortName != "web" || e.Local != "localhost:"+here.Port || e.Listening != "" {
		t.Errorf("event = %+v, want port 8080 by its name", e)
	}

	address := kit.ReadPodField(t, namespace, e.Pod, "{.status.podIP}") + ":8080"
	kit.VerifyAnswer(t, kit.NodeNetwork, address, kit.FromLaptop)
	redir.Interrupt()

	redir = kit.StartRedir(t, nil, "-n", namespace, "deploy/web", "http")
	kit.ExpectFailure(1, "no container declares it; named ports of the pod: web (8080), nobody (9000), admin (9090)", "").
		Verify(t, "an unknown name", redir.WaitForEnd())
}

// TestRedirServicePorts redirects what the ports of a Service lead to, and names the pod.
func TestRedirServicePorts(t *testing.T) {
	namespace := kit.CreatePods(t, "takes.yaml")
	here := kit.StartLocalServer(t, kit.AnswerRequest)

	for _, port := range []string{"80", "http"} {
		redir := kit.StartRedir(t, nil, "-n", namespace, "svc/front", port+":"+here.Port)
		chosen := redir.WaitForEvent("pod")
		if chosen.Of != 3 || !strings.HasPrefix(chosen.Pod, "web-") {
			t.Errorf("event = %+v, want 1 of 3 pods", chosen)
		}

		e := redir.WaitForEvent("redirect")
		if e.Redirect != "8080" || e.Service != "front" || e.ServicePort != 80 {
			t.Errorf("event = %+v, want port 8080 by port 80 of the service", e)
		}
		kit.VerifyAnswer(t, kit.NodeNetwork, kit.ReadPodField(t, namespace, e.Pod, "{.status.podIP}")+":8080", kit.FromLaptop)
		redir.Interrupt()
	}

	for port, want := range map[string]string{
		"8080": "find port 8080 of service front: the service has no such port; it has 80 (http), 81 (echo), 53/UDP (dns), 82 (lost)",
		"53":   "find port 53 of service front: it is a port of UDP, and only TCP is redirected",
		"82":   `port 82 of service front: find port "nowhere" of pod`,
	} {
		redir := kit.StartRedir(t, nil, "-n", namespace, "svc/front", port)
		kit.ExpectFailure(1, want, "").Verify(t, "port "+port, redir.WaitForEnd())
	}
}

// TestRedirSaysWhatItTakes says at the start why a redirect may take nothing, and makes it.
func TestRedirSaysWhatItTakes(t *testing.T) {
	namespace := kit.CreatePods(t, "takes.yaml")
	here := kit.StartLocalServer(t, kit.AnswerRequest)

	for port, want := range map[string]kit.RedirEvent{
		"8080": {},
		"7000": {Listening: "loopback"},
		"9000": {Listening: "none"},
		"9090": {Listening: "none", IdleContainer: "broken"},
		"5353": {Listening: "none", DeclaredProtocol: "UDP"},
		"6000": {Listening: "none"},
	} {
		if want.IdleContainer != "" {
			waitForCrashes(t, namespace, want.IdleContainer)
		}
		redir := kit.StartRedir(t, nil, "-n", namespace, "deploy/web", port+":"+here.Port)
		e := redir.WaitForEvent("redirect")
		if e.Listening != want.Listening || e.IdleContainer != want.IdleContainer || e.DeclaredProtocol != want.DeclaredProtocol {
			t.Errorf("port %s: event %+v, want %+v", port, e, want)
		}
		kit.VerifyAnswer(t, kit.NodeNetwork, kit.ReadPodField(t, namespace, e.Pod, "{.status.podIP}")+":"+port, kit.FromLaptop)
		redir.Interrupt()
	}

	text := kit.StartKdiag(t, "redir", "-n", namespace, "svc/front", "81:"+here.Port)
	text.WaitForOutput("→")
	text.Interrupt()
	for _, want := range []string{
		"redirecting pod " + namespace + "/web-", " (1 of 3)\n",
		"7000 (port 81 of service front) → localhost:" + here.Port + " (nft); the pod listens on it on loopback only, ",
	} {
		if !strings.Contains(text.Stdout.String(), want) {
			t.Errorf("printed %q, want %q", text.Stdout.String(), want)
		}
	}
}

// TestRedirTakeOverOutgoing counts the connections that the pod has to a port, and closes them.
func TestRedirTakeOverOutgoing(t *testing.T) {
	namespace, _, other := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	netns := kit.FindPodNetwork(t, namespace, "app")
	old := kit.OpenConnection(t, netns, other+":7000")
	if err := kit.ExchangeText(old, "hello"); err != nil {
		t.Fatal(err)
	}

	for _, spec := range []string{"7000:" + here.Port, other + ":7000=" + here.Port} {
		redir := kit.StartRedir(t, nil, "-n", namespace, "app", "--outgoing", spec)
		if e := redir.WaitForEvent("redirect"); e.Established != 1 || e.TakenOver != 0 {
			t.Errorf("--outgoing %s: event = %+v, want one established connection", spec, e)
		}
		redir.Interrupt()
	}

	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "--outgoing", "7000:"+here.Port, "--take-over")
	if e := redir.WaitForEvent("redirect"); e.Established != 0 || e.TakenOver != 1 {
		t.Errorf("event = %+v, want one connection taken over", e)
	}
	kit.SetPatience(old)
	if _, err := old.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read of a connection that was taken over: %v, want that it was aborted", err)
	}
	redir.Interrupt()
}

// TestRedirOutgoingService takes connections to a Service by its address and by those of its
// endpoints, which may have other ports, and keeps up with them.
func TestRedirOutgoingService(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")
	kit.RunKubectl(t, "label", "pod", "-n", namespace, "other", "serves=back")
	kit.RunKubectl(t, "create", "service", "clusterip", "-n", namespace, "back", "--tcp=80:8080")
	kit.RunKubectl(t, "set", "selector", "-n", namespace, "service/back", "serves=back")
	waitForEndpoint(t, namespace, other)

	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "--outgoing", "back."+namespace+".svc:80="+here.Port)
	e := redir.WaitForEvent("redirect")
	if len(e.Endpoints) != 1 || e.Endpoints[0] != other+":8080" {
		t.Errorf("event = %+v, want the endpoint %s:8080", e, other)
	}
	service := kit.RunKubectl(t, "get", "service", "-n", namespace, "back", "-o", "jsonpath={.spec.clusterIP}")
	kit.VerifyAnswer(t, netns, service+":80", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, other+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)

	// Another endpoint comes later.
	kit.RunKubectl(t, "run", "-n", namespace, "more", "--labels=serves=back", "--image=localhost/kdiag-sample:full", "--image-pull-policy=Never")
	kit.WaitForPodField(t, namespace, "more", "{.status.podIP}", ".")
	more := kit.ReadPodField(t, namespace, "more", "{.status.podIP}")
	if e := redir.WaitForEvent("moved"); len(e.Added) != 1 || e.Added[0] != more+":8080" {
		t.Errorf("event = %+v, want %s:8080 added", e, more)
	}
	kit.VerifyAnswer(t, netns, more+":8080", kit.FromLaptop)
	kit.VerifyAnswer(t, netns, other+":8080", kit.FromLaptop)
	redir.Interrupt()
}

// waitForEndpoint waits until a pod's address is an endpoint.
func waitForEndpoint(t *testing.T, namespace, address string) {
	t.Helper()
	kit.WaitUntil(t, "endpoint "+address, func() bool {
		slices := kit.RunKubectl(t, "get", "endpointslices", "-n", namespace, "-o", "jsonpath={.items[*].endpoints[*].addresses[*]}")
		return strings.Contains(slices, address)
	})
}

// waitForCrashes waits until a container of every pod of "web" runs no more for a while.
func waitForCrashes(t *testing.T, namespace, container string) {
	t.Helper()
	reasons := `jsonpath={.items[*].status.containerStatuses[?(@.name=="` + container + `")].state.waiting.reason}`
	kit.WaitUntil(t, "container "+container+" to crash everywhere", func() bool {
		waiting := kit.RunKubectl(t, "get", "pods", "-n", namespace, "-l", "app=web", "-o", reasons)
		return strings.Count(waiting, "CrashLoopBackOff") == 3
	})
}
