package integration

import (
	"kdiag/integration/kit"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFailNodeGone does not wait for a kubelet that has stopped.
func TestFailNodeGone(t *testing.T) {
	kit.RequireOwnCluster(t, "the kubelet is ours to stop")

	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell before: %v", got)
	}

	cluster := func(args ...string) {
		t.Helper()
		if got := kit.RunCommand(t, "", kit.Environment(), filepath.Join(kit.RootDir(), ".cluster/bin/cluster"), args...); got.Code != 0 {
			t.Fatalf("cluster %q: %v", args, got)
		}
	}

	cluster("stop", "--kill", "kubelet")
	defer func() {
		cluster("start", "kubelet")
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

// TestFailServer is an API server that cannot be reached, or does not answer.
func TestFailServer(t *testing.T) {
	silent := kit.StartDeafServer(t, "127.0.0.1:0")
	kit.ExpectFailure(1, "connect: connection refused", "is the cluster up").Verify(t, "no server", kit.RunKdiag(t, "shell", "web", "--server=https://127.0.0.1:1"))
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
	p, through := kit.StartProxy(t)
	cmd := exec.Command(kit.BinaryPath(), append([]string{"shell", "-n", namespace, "deploy/web"}, append(through, "--", "-c", "echo ready; sleep 1000")...)...)
	cmd.Env = kit.Environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err = stdout.Read(make([]byte, 16)); err != nil {
		t.Fatalf("no word from the shell: %v, %s", err, stderr.String())
	}

	p.Cut()
	_ = cmd.Wait()
	kit.ExpectFailure(1, "broke off", "").Verify(t, "the API server gone", kit.NewResult("", stderr.String(), cmd.ProcessState.ExitCode()))
}
