package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirOutgoing redirects connections that leave the pod.
func TestRedirOutgoing(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	netns := kit.FindPodNetwork(t, namespace, "app")

	t.Run("by port", func(t *testing.T) {
		redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", "8080:"+here.Port)
		kit.VerifyAnswer(t, netns, other+":8080", kit.FromLaptop)
		kit.VerifyAnswer(t, netns, "192.0.2.9:8080", kit.FromLaptop) // nobody has it
		kit.VerifyAnswer(t, netns, "127.0.0.1:8080", kit.FromApp)
		kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
		if e := redir.WaitForEvent("close"); e.Destination != other+":8080" || e.Redirect != "outgoing 8080" {
			t.Errorf("event = %+v", e)
		}

		redir.Interrupt()
		kit.VerifyAnswer(t, netns, other+":8080", "sample app on other")
	})

	t.Run("by name", func(t *testing.T) {
		redir := kit.StartRedir(t, nil, "-n", namespace, "app", "--outgoing", "db.prod.svc:8080=localhost:"+here.Port)
		if e := redir.WaitForEvent("redirect"); len(e.Addresses) != 1 || e.Addresses[0] != "192.0.2.7" {
			t.Errorf("event = %+v, want the name's address in the pod", e)
		}

		kit.VerifyAnswer(t, netns, "192.0.2.7:8080", kit.FromLaptop)
		kit.VerifyAnswer(t, netns, other+":8080", "sample app on other")
		redir.Interrupt()
	})

	t.Run("a name that moves", func(t *testing.T) {
		// The kubelet mounts this file as the pod's /etc/hosts.
		uid := kit.ReadPodField(t, namespace, "app", "{.metadata.uid}")
		hosts := kit.ClusterPath("kubelet/pods/" + uid + "/etc-hosts")
		text, err := os.ReadFile(hosts)
		if err != nil {
			t.Fatal(err)
		}

		redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", "db.prod.svc:8080=localhost:"+here.Port)
		if err := os.WriteFile(hosts, bytes.ReplaceAll(text, []byte("192.0.2.7"), []byte("192.0.2.8")), 0o644); err != nil {
			t.Fatal(err)
		}
		if e := redir.WaitForEvent("moved"); len(e.Added) != 1 || e.Added[0] != "192.0.2.8:8080" {
			t.Errorf("event = %+v, want the new address", e)
		}

		kit.VerifyAnswer(t, netns, "192.0.2.8:8080", kit.FromLaptop)
		redir.Interrupt()
	})

	t.Run("a name nobody has", func(t *testing.T) {
		redir := kit.StartRedir(t, nil, "-n", namespace, "app", "--outgoing", "nobody.invalid:8080")
		kit.ExpectFailure(1, "resolve nobody.invalid in the pod", "").Verify(t, "redir", redir.WaitForEnd())
	})

	t.Run("not the API server", func(t *testing.T) {
		service := kit.RunKubectl(t, "get", "service", "-n", "default", "kubernetes", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
		_, port, _ := strings.Cut(service, ":")
		redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", port+":"+here.Port)
		kit.VerifyAnswer(t, netns, "192.0.2.9:"+port, kit.FromLaptop)
		if got, err := kit.FetchAnswer(netns, service); err == nil && strings.Contains(got, kit.FromLaptop) {
			t.Errorf("the API server's traffic was taken: %q", got)
		}
		redir.Interrupt()

		// Unless it is asked for by its address.
		redir = kit.StartRedirects(t, 1, "-n", namespace, "app", "--outgoing", service+"="+here.Port)
		kit.VerifyAnswer(t, netns, service, kit.FromLaptop)
		redir.Interrupt()
	})
}
