package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestFailNoSuchPod names what there is in place of what was not found.
func TestFailNoSuchPod(t *testing.T) {
	namespace := kit.SharedPods(t)
	kit.ExpectFailure(1, `pods "nothere" not found`, "distroless, hostnetwork, hostpid").Verify(t, "no such pod", kit.RunKdiag(t, "shell", "-n", namespace, "nothere"))
	kit.ExpectFailure(1, `deployments.apps "nothere" not found`, "kubectl get deployments").Verify(t, "no such deployment", kit.RunKdiag(t, "shell", "-n", namespace, "deploy/nothere"))
	kit.ExpectFailure(1, "no pods", "kubectl get pods").Verify(t, "no pod by label", kit.RunKdiag(t, "shell", "-n", namespace, "-l", "app=nothere"))
	kit.ExpectFailure(1, "no such container", "containers in this pod: one, two").Verify(t, "no such container", kit.RunKdiag(t, "shell", "-n", namespace, "several", "-c", "three"))
	kit.ExpectFailure(1, "not found", "has no pods").Verify(t, "no such namespace", kit.RunKdiag(t, "shell", "-n", "kdiag-no-such", "web"))
}

// TestFailNotRunning says why the target does not run.
func TestFailNotRunning(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "notrunning.yaml"))
	kit.WaitForPodField(t, namespace, "ended", "{.status.phase}", "Failed")
	kit.WaitForPodField(t, namespace, "pending", "{.status.conditions}", "Unschedulable")

	kit.ExpectFailure(1, "not running: the pod is not scheduled: Unschedulable", "kubectl describe pod").Verify(t, "a pending pod", kit.RunKdiag(t, "shell", "-n", namespace, "pending"))
	kit.ExpectFailure(1, "not running: it exited with code", "kubectl describe pod").Verify(t, "an ended pod", kit.RunKdiag(t, "shell", "-n", namespace, "ended"))
	for _, command := range []string{"shell", "env", "ps"} {
		got := kit.RunKdiag(t, command, "-n", namespace, "ended")
		if got.Code != 1 || !strings.Contains(got.Stderr, "ended does not run: it ended ") || !strings.Contains(got.Stderr, ": exit code 1") ||
			!strings.Contains(got.Stderr, "note: it logged: listen tcp: address not an address: missing port in address\n") {
			t.Errorf("%s of an ended pod: %v\nwant its exit code and its last words", command, got)
		}
	}
	kit.ExpectFailure(1, "did not start within 2s: the container is not running: it is waiting: PodInitializing: init container setup is running", "running containers: setup; choose one with -c").
		Verify(t, "an initializing pod", kit.RunKdiag(t, "shell", "-n", kit.SharedPods(t), "initializing", "--timeout=2s"))
}

// TestFailImage says why the kubelet cannot start an image, long before a time-out. TestContainersThatWait
// is about one that it cannot pull.
func TestFailImage(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	never := []string{"shell", "-n", namespace, "root", "--image=localhost/nothere:1", "--pull-policy=Never", "--timeout=30s"}
	kit.ExpectFailure(1, "is not present with pull policy of Never", "kdiag image").Verify(t, "an image that is not there", kit.RunKdiag(t, never...))
	kit.ExpectFailure(2, "not the name of an image", "").Verify(t, "a bad image name", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=NOT/A/NAME", "--timeout=40s"))
	kit.ExpectFailure(1, "", "check that localhost/kdiag-sample:debug is a kdiag image").Verify(t, "an image that is not kdiag's",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=localhost/kdiag-sample:debug", "--pull-policy=Never"))

	// Once more: the kubelet's next attempt, not another container.
	before := kit.ReadPodField(t, namespace, "root", "{.spec.ephemeralContainers[*].name}")
	kit.ExpectFailure(1, "is not present with pull policy of Never", "kdiag image").Verify(t, "the same image again", kit.RunKdiag(t, never...))
	if after := kit.ReadPodField(t, namespace, "root", "{.spec.ephemeralContainers[*].name}"); after != before {
		t.Errorf("ephemeral containers: %q, before: %q, want no more", after, before)
	}
}

// TestFailWhileWaiting ends the wait for a registry that does not answer: by the
// time-out, by Ctrl-C, or because the pod is deleted.
func TestFailWhileWaiting(t *testing.T) {
	kit.RequireOwnCluster(t, "a registry that does not answer")
	image := kit.DeafImage(t)
	namespace := kit.CreateRootPod(t)
	wait := []string{"shell", "-n", namespace, "root", "--image=" + image}

	kit.ExpectFailure(1, "within 3s", "use --timeout to wait longer").Verify(t, "time-out", kit.RunKdiag(t, append(wait, "--timeout=3s")...))

	start := func() *kit.Process {
		t.Helper()
		shell := kit.StartKdiag(t, wait...)
		kit.WaitForPodField(t, namespace, "root", "{.spec.ephemeralContainers[*].image}", image)
		return shell
	}

	if got := start().Interrupt(); got.Code != 130 || strings.Contains(got.Stderr, "kdiag: ") {
		t.Errorf("Ctrl-C while waiting: %v, want code 130 and no error", got)
	}

	shell := start()
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false")
	kit.ExpectFailure(1, "the pod was deleted", "").Verify(t, "pod deleted", shell.WaitForEnd())
}

// TestFailPodSecurity names the level that refused a profile, and the profiles that
// it admits.
func TestFailPodSecurity(t *testing.T) {
	namespace := kit.CreateRootPod(t, "pod-security.kubernetes.io/enforce=baseline")
	kit.ExpectFailure(1, `violates PodSecurity "baseline:latest"`, "allowed here: --profile=baseline, --profile=restricted").Verify(t, "a profile that is refused",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=setns"))
}
