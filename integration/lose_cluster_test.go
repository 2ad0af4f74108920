package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestFailNodeGone fails at once where the kubelet has stopped.
func TestFailNodeGone(t *testing.T) {
	kit.RequireOwnCluster(t, "a kubelet that may be stopped")
	namespace := kit.CreateRootPod(t)
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell before: %v", got)
	}

	// The kubelet writes into the status a second late that a container runs. Without
	// that, the next shell would wait for the container's start.
	kit.WaitForPodField(t, namespace, "root", "{.status.ephemeralContainerStatuses[*].state}", "running")

	runCluster := func(args ...string) {
		t.Helper()
		if got := kit.RunCommand(t, "", kit.Environment(), kit.ClusterPath("bin/cluster"), append([]string{"--dir", kit.ClusterPath("")}, args...)...); got.Code != 0 {
			t.Fatalf("cluster %q: %v", args, got)
		}
	}

	runCluster("stop", "--kill", "kubelet")
	defer func() {
		runCluster("start", "kubelet")
		kit.WaitUntil(t, "the node to be ready again", func() bool {
			return strings.Contains(kit.RunKubectl(t, "get", "nodes", "--no-headers"), " Ready")
		})
	}()

	kit.ExpectFailure(1, "connection refused", "").Verify(t, "a shell container on a node that is gone", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	kit.WaitUntil(t, "the node to be found gone", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "nodes", "--no-headers"), "NotReady")
	})
	kit.ExpectFailure(1, "is not ready: ", "").Verify(t, "a new container on a node that is gone",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=baseline", "--", "-c", "true"))
}

// TestFailServer says why an API server cannot be used.
func TestFailServer(t *testing.T) {
	silent := kit.StartDeafServer(t, "127.0.0.1:0")
	kit.ExpectFailure(1, "connect: connection refused", "check that the cluster is up").Verify(t, "no server", kit.RunKdiag(t, "shell", "web", "--server=https://127.0.0.1:1"))
	kit.ExpectFailure(1, "no answer within 2s", "--timeout").Verify(t, "a deaf server",
		kit.RunKdiag(t, "shell", "web", "--server=https://127.0.0.1:"+silent, "--timeout=2s"))
	kit.ExpectFailure(1, "certificate", "--certificate-authority").Verify(t, "another authority",
		kit.RunKdiag(t, "shell", "web", "--kubeconfig=/dev/null", "--server="+kit.ReadServerURL(t).String(), "--token=x"))
	kit.ExpectFailure(1, "Unauthorized", "credentials").Verify(t, "a wrong token",
		kit.RunKdiag(t, "shell", "web", "--kubeconfig=/dev/null", "--server="+kit.ReadServerURL(t).String(), "--insecure-skip-tls-verify", "--token=x"))
}

// TestFailSessionCut ends a running command when the API server goes.
func TestFailSessionCut(t *testing.T) {
	namespace := kit.SharedPods(t)
	proxy, through := kit.StartProxy(t)
	command := append([]string{"shell", "-n", namespace, "deploy/web"}, through...)
	shell := kit.StartKdiag(t, append(command, "--", "-c", "echo ready >&2; sleep 1000")...)
	shell.WaitForOutput("ready")

	proxy.Cut()
	kit.ExpectFailure(1, "connection lost", "").Verify(t, "the API server gone", shell.WaitForEnd())
}
