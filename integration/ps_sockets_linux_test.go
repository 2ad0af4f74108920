package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestPsSockets names the pods and services at the other ends of connections, as far
// as the user may list them.
func TestPsSockets(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	kit.ApplyManifest(t, namespace, "{apiVersion: v1, kind: Service, metadata: {name: backend}, spec: {ports: [{port: 7001}]}}")
	service := kit.RunKubectl(t, "get", "service", "-n", namespace, "backend", "-o", "jsonpath={.spec.clusterIP}")

	// A redirect stands in for what serves the service: there is no kube-proxy.
	here := kit.StartLocalServer(t, kit.EchoBytes)
	kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", service+":7001=localhost:"+here.Port)

	elsewhere := kit.CreateNamespace(t)
	kit.AddPods(t, elsewhere, strings.Split(kit.ReadManifest(t, "redir.yaml"), "---")[1])
	stranger := kit.ReadPodField(t, elsewhere, "other", "{.status.podIP}")
	openPodConnection(t, namespace, other, "7000")
	openPodConnection(t, namespace, stranger, "7000")
	openPodConnection(t, namespace, service, "7001")

	report := kit.RunPs(t, "-n", namespace, "app", "--sockets")
	for address, want := range map[string]string{
		other + ":7000":    "pod " + namespace + "/other",
		stranger + ":7000": "pod " + elsewhere + "/other",
		service + ":7001":  "service " + namespace + "/backend",
	} {
		if peer := report.FindPeer(address); peer != want {
			t.Errorf("peer of %s = %s, want %s: %v", address, peer, want, report)
		}
	}

	if report.Stderr != "" {
		t.Errorf("stderr = %q, want nothing", report.Stderr)
	}

	// The pod at the other end sees where the connection came from.
	if report := kit.RunPs(t, "-n", namespace, "other", "--sockets"); len(report.Connected) != 1 || report.Connected[0].Peer == nil || report.Connected[0].Peer.Name != "app" {
		t.Errorf("ps of the other: %v\nwant a connection from app, %s", report, app)
	}

	text := kit.RunKdiag(t, "ps", "-n", namespace, "app", "--sockets")
	if !strings.Contains(text.Stdout, "service "+namespace+"/backend") || !strings.Contains(text.Stdout, "ESTABLISHED") {
		t.Errorf("ps: %v\nwant the service's name", text)
	}

	// Without the right to list in other namespaces, and then in any.
	kit.RunKubectl(t, "create", "role", "-n", namespace, "one", "--verb=get,list,watch", "--resource=pods,services")
	kit.RunKubectl(t, "create", "role", "-n", namespace, "none", "--verb=get", "--resource=pods")
	kit.RunKubectl(t, "create", "role", "-n", namespace, "inject", "--verb=patch,create", "--resource=pods/ephemeralcontainers,pods/exec")
	for _, user := range []string{"one", "none"} {
		for _, role := range []string{user, "inject"} {
			kit.RunKubectl(t, "create", "rolebinding", "-n", namespace, user+"-"+role, "--role="+role, "--user="+namespace+"-"+user)
		}
	}

	report = kit.RunPs(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-one")
	if report.FindPeer(other+":7000") != "pod "+namespace+"/other" || report.FindPeer(stranger+":7000") != "nothing known" || report.FindPeer(service+":7001") != "service "+namespace+"/backend" ||
		!strings.Contains(report.Stderr, "note: some peers are shown by address only: not allowed to list pods in other namespaces; not allowed to list services in other namespaces") {
		t.Errorf("ps with the rights of one namespace: %v", report)
	}

	report = kit.RunPs(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-none")
	if report.FindPeer(other+":7000") != "nothing known" || !strings.Contains(report.Stderr, "not allowed to list pods; not allowed to list services") {
		t.Errorf("ps with not allowed to list: %v", report)
	}
}

// openPodConnection connects from the pod "app" to an address that echoes, until
// the test ends.
func openPodConnection(t *testing.T, namespace, address, port string) {
	t.Helper()
	nc := kit.StartKubectl(t, "exec", "-i", "-n", namespace, "app", "--", "busybox", "nc", address, port)
	nc.WriteStdin("hello\n")
	nc.WaitForOutput("hello\n")
}
