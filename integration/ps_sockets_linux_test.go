package integration

import (
	"bufio"
	"kdiag/integration/kit"
	"os/exec"
	"strings"
	"testing"
)

// TestPsSockets names the pods and services that are connected: as far as the
// user may list them.
func TestPsSockets(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	kit.ApplyManifest(t, namespace, "{apiVersion: v1, kind: Service, metadata: {name: backend}, spec: {ports: [{port: 7001}]}}")
	service := kit.RunKubectl(t, "get", "service", "-n", namespace, "backend", "-o", "jsonpath={.spec.clusterIP}")
	here := kit.StartLocalServer(t, kit.EchoBack)
	// In place of what serves the service, so that the test needs no kube-proxy.
	kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", service+":7001=localhost:"+here.Port)
	elsewhere := kit.CreateNamespace(t)
	kit.ApplyManifest(t, elsewhere, strings.Split(kit.ReadManifest(t, "redir.yaml"), "---")[1])
	kit.WaitForPods(t, elsewhere)
	stranger := kit.RunKubectl(t, "get", "pod", "-n", elsewhere, "other", "-o", "jsonpath={.status.podIP}")
	openPodConnection(t, namespace, other, "7000")
	openPodConnection(t, namespace, stranger, "7000")
	openPodConnection(t, namespace, service, "7001")

	d, got := kit.RunPs(t, "-n", namespace, "app", "--sockets")
	for address, want := range map[string]string{
		other + ":7000": "pod " + namespace + "/other", stranger + ":7000": "pod " + elsewhere + "/other", service + ":7001": "service " + namespace + "/backend",
	} {
		if peer := d.FindPeer(address); peer != want {
			t.Errorf("peer of %s = %s, want %s: %v", address, peer, want, got)
		}
	}

	if got.Stderr != "" {
		t.Errorf("stderr = %q, want nothing", got.Stderr)
	}
	// The other side, where the connection came in.
	if d, got := kit.RunPs(t, "-n", namespace, "other", "--sockets"); len(d.Connected) != 1 || d.Connected[0].Peer == nil || d.Connected[0].Peer.Name != "app" {
		t.Errorf("ps of the other: %v\nwant a connection from app, %s", got, app)
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

	d, got = kit.RunPs(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-one")
	if d.FindPeer(other+":7000") != "pod "+namespace+"/other" || d.FindPeer(stranger+":7000") != "nothing known" || d.FindPeer(service+":7001") != "service "+namespace+"/backend" ||
		!strings.Contains(got.Stderr, "note: peers are shown by address where the API did not tell: pods of other namespaces: no right to list them; services of other namespaces") {
		t.Errorf("ps with the rights of one namespace: %v", got)
	}

	d, got = kit.RunPs(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-none")
	if d.FindPeer(other+":7000") != "nothing known" || !strings.Contains(got.Stderr, "pods: no right to list them; services: no right to list them") {
		t.Errorf("ps with no right to list: %v", got)
	}
}

// openPodConnection opens one from the pod "app" to an address and has it echo, so
// that it is there; it ends with the test.
func openPodConnection(t *testing.T, namespace, address, port string) {
	t.Helper()
	cmd := exec.Command("kubectl", "exec", "-i", "-n", namespace, "app", "--", "busybox", "nc", address, port)
	cmd.Env = kit.Environment()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	if _, err := stdin.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("echo from %s:%s = %q, %v", address, port, line, err)
	}
}
