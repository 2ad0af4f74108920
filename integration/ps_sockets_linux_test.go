package integration

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
)

// connection opens one from the pod "app" to an address and has it echo, so
// that it is there; it ends with the test.
func connection(t *testing.T, namespace, address, port string) {
	t.Helper()
	cmd := exec.Command("kubectl", "exec", "-i", "-n", namespace, "app", "--", "busybox", "nc", address, port)
	cmd.Env = shared.env()
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

// peerOf is what is behind the other end of the connection to an address.
func (d psDocument) peerOf(address string) string {
	for _, s := range d.Connected {
		if s.Remote == address && s.Peer != nil {
			return s.Peer.Kind + " " + s.Peer.Namespace + "/" + s.Peer.Name
		}
		if s.Remote == address {
			return "nothing known"
		}
	}
	return "no connection"
}

// TestPsSockets names the pods and services that are connected: as far as the
// user may list them.
func TestPsSockets(t *testing.T) {
	namespace, app, other := redirPods(t)
	apply(t, namespace, "{apiVersion: v1, kind: Service, metadata: {name: backend}, spec: {ports: [{port: 7001}]}}")
	service := kubectl(t, "get", "service", "-n", namespace, "backend", "-o", "jsonpath={.spec.clusterIP}")
	here := newLaptop(t, echoing)
	// In place of what serves the service, so that the test needs no kube-proxy.
	redirecting(t, 1, "-n", namespace, "app", "--outgoing", service+":7001=localhost:"+here.port)
	elsewhere := newNamespace(t)
	apply(t, elsewhere, strings.Split(manifest(t, "redir.yaml"), "---")[1])
	waitForPods(t, elsewhere)
	stranger := kubectl(t, "get", "pod", "-n", elsewhere, "other", "-o", "jsonpath={.status.podIP}")
	connection(t, namespace, other, "7000")
	connection(t, namespace, stranger, "7000")
	connection(t, namespace, service, "7001")

	d, got := ps(t, "-n", namespace, "app", "--sockets")
	for address, want := range map[string]string{
		other + ":7000": "pod " + namespace + "/other", stranger + ":7000": "pod " + elsewhere + "/other", service + ":7001": "service " + namespace + "/backend",
	} {
		if peer := d.peerOf(address); peer != want {
			t.Errorf("peer of %s = %s, want %s: %v", address, peer, want, got)
		}
	}

	if got.stderr != "" {
		t.Errorf("stderr = %q, want nothing", got.stderr)
	}
	// The other side, where the connection came in.
	if d, got := ps(t, "-n", namespace, "other", "--sockets"); len(d.Connected) != 1 || d.Connected[0].Peer == nil || d.Connected[0].Peer.Name != "app" {
		t.Errorf("ps of the other: %v\nwant a connection from app, %s", got, app)
	}

	text := kdiag(t, "ps", "-n", namespace, "app", "--sockets")
	if !strings.Contains(text.stdout, "service "+namespace+"/backend") || !strings.Contains(text.stdout, "ESTABLISHED") {
		t.Errorf("ps: %v\nwant the service's name", text)
	}

	// Without the right to list in other namespaces, and then in any.
	kubectl(t, "create", "role", "-n", namespace, "one", "--verb=get,list,watch", "--resource=pods,services")
	kubectl(t, "create", "role", "-n", namespace, "none", "--verb=get", "--resource=pods")
	kubectl(t, "create", "role", "-n", namespace, "inject", "--verb=patch,create", "--resource=pods/ephemeralcontainers,pods/exec")
	for _, user := range []string{"one", "none"} {
		for _, role := range []string{user, "inject"} {
			kubectl(t, "create", "rolebinding", "-n", namespace, user+"-"+role, "--role="+role, "--user="+namespace+"-"+user)
		}
	}

	d, got = ps(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-one")
	if d.peerOf(other+":7000") != "pod "+namespace+"/other" || d.peerOf(stranger+":7000") != "nothing known" || d.peerOf(service+":7001") != "service "+namespace+"/backend" ||
		!strings.Contains(got.stderr, "note: peers are shown by address where the API did not tell: pods of other namespaces: no right to list them; services of other namespaces") {
		t.Errorf("ps with the rights of one namespace: %v", got)
	}

	d, got = ps(t, "-n", namespace, "app", "--sockets", "--as="+namespace+"-none")
	if d.peerOf(other+":7000") != "nothing known" || !strings.Contains(got.stderr, "pods: no right to list them; services: no right to list them") {
		t.Errorf("ps with no right to list: %v", got)
	}
}

// TestRedirContainerPorts takes what processes of a container listen on, though
// the pod declares no ports.
func TestRedirContainerPorts(t *testing.T) {
	namespace := pods(t)
	for container, port := range map[string]string{"one": "8081", "two": "8082"} {
		for _, pod := range []string{"several", "sharedpids"} {
			r := startRedir(t, nil, "-n", namespace, pod, "-c", container)
			if e := r.await("redirect"); e.Redirect != port || e.Local != "localhost:"+port {
				t.Errorf("redirect of container %s of %s = %+v, want %s", container, pod, e, port)
			}
			r.interrupt()
			for e := range r.events {
				if e.Event == "redirect" || e.Event == "error" {
					t.Errorf("one more event: %+v", e)
				}
			}
		}
	}
}

// TestRedirContainerHidden says why the ports of a container cannot be found.
func TestRedirContainerHidden(t *testing.T) {
	namespace := policed(t, "no-sys-chroot", "restricted")
	r := startRedir(t, nil, "-n", namespace, "root", "-c", "app")
	r.awaitEnd()
	failure{1, "redirect every port of container app: the sockets of some processes are hidden: the target runs as user 0", "name a port"}.
		check(t, "hidden sockets", result{"", r.stderr.String(), r.code})
}
