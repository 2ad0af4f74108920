package netfilter

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"kdiag/netfilter/netnstest"
)

// viaMesh stands before the greeting of a connection that a mesh's proxy has carried.
const viaMesh = "via mesh, "

// eachMesh runs a test with each mesh's rules and each back end, in a pod where the
// mesh's proxy runs.
func eachMesh(t *testing.T, test func(t *testing.T, m netnstest.Mesh, b testBackend, pod, outside namespace)) {
	for _, m := range netnstest.Meshes() {
		t.Run(m.String(), func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
				needTools(t, [][]string{{"nft"}, {"iptables-nft-restore"}, {"ip6tables-legacy-restore"}})
				newRoutedPod(t, pod)
				wantMesh(t, "")
				m.Load(t, pod)
				m.ServeProxy(t, pod, OriginalDestination, viaMesh)
				test(t, m, b, pod, outside)
			})
		})
	}
}

// greetWithSource greets a peer with its own address and what it dialed.
func greetWithSource(c net.Conn) string {
	return fmt.Sprintf("%s from %s", greetWithDestination(c), c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
}

// TestBesideMesh redirects in a pod of a mesh. Connections reach the listener through the
// mesh's proxy, and the mesh's rules stay as they were.
func TestBesideMesh(t *testing.T) {
	eachMesh(t, func(t *testing.T, m netnstest.Mesh, b testBackend, pod, outside namespace) {
		wantMesh(t, m.Kind)
		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithSource)

		first := b.listRules(t, pod)
		before := dialMany(t, outside, viaMesh+"app")
		c := testConfig("abc1")
		c.LoopbackOnly = true
		backend := b.open(t, c)
		attachAll(t, backend, incoming(appPort))

		for _, to := range []string{pod4, pod6} {
			wantRedirectedBehind(t, m, outside, net.JoinHostPort(to, fmt.Sprint(appPort)))
		}
		wantHeldElsewhere(t, b, incoming(appPort))
		wantAlive(t, "before Attach", before)
		redirected := dialMany(t, outside, viaMesh+"redirected from")

		if err := backend.Detach(incoming(appPort)); err != nil {
			t.Errorf("Detach = %v", err)
		}
		wantAlive(t, "after Detach", redirected)
		wantGreeting(t, outside, 0, "10.1.0.2:8080", viaMesh+"app")

		if err := backend.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if got := b.listRules(t, pod); got != first {
			t.Errorf("listing after Close =\n%s\nwant\n%s", got, first)
		}
	})
}

// wantHeldElsewhere wants that another manager with the same back end sees a redirect.
func wantHeldElsewhere(t *testing.T, b testBackend, r Redirect) {
	t.Helper()
	other := b.open(t, testConfig("two"))
	wantHeld(t, other, r)
	if err := other.Close(); err != nil {
		t.Errorf("Close of another manager = %v", err)
	}
}

// wantRedirectedBehind wants that a connection from outside is redirected where the
// mesh's proxy passes it on, with the client's address if the mesh keeps that.
func wantRedirectedBehind(t *testing.T, m netnstest.Mesh, outside namespace, to string) {
	t.Helper()
	conn, err := dialFrom(outside, 0, to)
	if err != nil {
		t.Errorf("dial %s: %v", to, err)
		return
	}
	defer conn.Close()

	destination, source, _ := strings.Cut(strings.TrimPrefix(conn.greeting, viaMesh+"redirected from "), " from ")
	if conn.greeting == destination || !strings.HasSuffix(destination, ":8080") {
		t.Errorf("dial %s: greeted with %q, want it redirected behind the mesh", to, conn.greeting)
	}
	if client := conn.LocalAddr().(*net.TCPAddr).IP.String(); m.KeepsSource() && (source != client || destination != to) {
		t.Errorf("dial %s: greeted with %q, want it from %s", to, conn.greeting, client)
	}
	if err := conn.echo(); err != nil {
		t.Errorf("echo from %s: %v", to, err)
	}
}

// TestSelfCallBesideMesh lets an application's call to itself pass the mesh's proxy twice, as
// ever: what goes from one side of the proxy to the other is encrypted.
func TestSelfCallBesideMesh(t *testing.T) {
	eachMesh(t, func(t *testing.T, m netnstest.Mesh, b testBackend, pod, _ namespace) {
		if !m.TakesSelfCalls() || b.backend == "iptables" {
			return
		}

		startServer(t, pod, appPort, greetWith("app"))
		startServer(t, pod, listener, greetWithSource)
		c := testConfig("abc1")
		c.LoopbackOnly = true
		attachAll(t, b.open(t, c), incoming(appPort))

		conn, err := m.DialSelf(pod, "10.1.0.2:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		greeting, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(greeting, viaMesh+"redirected from ") {
			t.Errorf("the mesh's own call to the pod: greeted with %q, %v, want it redirected behind the mesh", greeting, err)
		}
		wantGreeting(t, pod, testMark, "10.1.0.2:8080", "app")
	})
}

// TestTrialsBesideMesh tries a redirect behind a mesh.
func TestTrialsBesideMesh(t *testing.T) {
	eachMesh(t, func(t *testing.T, _ netnstest.Mesh, b testBackend, pod, outside namespace) {
		w := watchPod(t, pod, outside)
		c := testConfig("abc1")
		c.LoopbackOnly = true
		backend := b.open(t, c)
		w.wantRefused(t, backend, incoming(appPort))

		attachAll(t, backend, testedRedirects()...)
		for i, want := range []int{2, 1, 1, 2} {
			w.wantProven(t, backend, testedRedirects()[i], want)
		}
		w.wantNobody(t)
	})
}

func wantMesh(t *testing.T, want string) {
	t.Helper()
	if got, err := DetectMesh(); err != nil || got != want {
		t.Errorf("DetectMesh() = %q, %v, want %q", got, err, want)
	}
}

func TestMeshOf(t *testing.T) {
	for chain, want := range map[string]string{
		"ISTIO_OUTPUT": "istio", "PROXY_INIT_REDIRECT": "linkerd", "KUMA_MESH_INBOUND": "kuma",
		"istio-output": "istio", "istio-prerouting": "istio", "istio-in-redirect": "istio",
		"PREROUTING": "", "MY_ISTIO_": "", "istio": "", "my-istio-output": "",
	} {
		if got := meshOfChain(chain); got != want {
			t.Errorf("meshOfChain(%q) = %q, want %q", chain, got, want)
		}
	}
}
