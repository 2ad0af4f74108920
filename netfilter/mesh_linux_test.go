package netfilter

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

const sidecarPort = 15006

// sidecarMark marks the sidecar's connections. A real mesh tells them by the
// sidecar's user id.
const sidecarMark = 1337

// istioRules holds Istio's rules for inbound connections: PREROUTING sends them to
// the sidecar, and the sidecar's own connections over lo are left alone.
const istioRules = `*nat
-N ISTIO_INBOUND
-N ISTIO_IN_REDIRECT
-N ISTIO_OUTPUT
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -p tcp -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -o lo -m mark --mark 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
COMMIT
`

// greetAsSidecar greets with what the app answers to the sidecar.
func greetAsSidecar(pod namespace) func(net.Conn) string {
	return func(net.Conn) string {
		c, err := dialFrom(pod, sidecarMark, fmt.Sprintf("127.0.0.1:%d", appPort))
		if err != nil {
			return err.Error()
		}
		defer c.Close()

		return "sidecar, " + c.greeting
	}
}

// TestBesideMesh redirects in a pod with a sidecar. Connections reach the listener
// through the sidecar, and the mesh's rules stay as they were.
func TestBesideMesh(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		eachBackend(t, func(t *testing.T, b testBackend, pod, outside namespace) {
			restore := "iptables-" + variant + "-restore"
			needTools(t, [][]string{{restore}})

			wantMesh(t, "")
			pod.Run(t, "sh", "-c", restore+" <<'END'\n"+istioRules+"END")
			wantMesh(t, "istio")

			startServer(t, pod, appPort, greetWith("app"))
			startServer(t, pod, listener, greetWithDestination)
			startServer(t, pod, sidecarPort, greetAsSidecar(pod))
			wantGreeting(t, outside, 0, "10.1.0.2:8080", "sidecar, app")

			first := b.listRules(t, pod)
			c := testConfig("abc1")
			c.LoopbackOnly = true
			backend := b.open(t, c)
			attachAll(t, backend, incoming(appPort))
			wantGreeting(t, outside, 0, "10.1.0.2:8080", "sidecar, redirected from 127.0.0.1:8080")
			if err := backend.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}

			wantGreeting(t, outside, 0, "10.1.0.2:8080", "sidecar, app")
			if got := b.listRules(t, pod); got != first {
				t.Errorf("listing after Close =\n%s\nwant\n%s", got, first)
			}
		})
	}
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
		"PREROUTING": "", "MY_ISTIO_": "", strings.ToLower("ISTIO_X"): "",
	} {
		if got := meshOfChain(chain); got != want {
			t.Errorf("meshOfChain(%q) = %q, want %q", chain, got, want)
		}
	}
}
