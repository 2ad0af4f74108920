package integration

import (
	"kdiag/integration/kit"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestFailNoSuchPod(t *testing.T) {
	namespace := kit.SharedPods(t)
	kit.ExpectFailure(1, `pods "nothere" not found`, "distroless, hostnetwork, hostpid").Verify(t, "no such pod", kit.RunKdiag(t, "shell", "-n", namespace, "nothere"))
	kit.ExpectFailure(1, `deployments.apps "nothere" not found`, "kubectl get deployments").Verify(t, "no such deployment", kit.RunKdiag(t, "shell", "-n", namespace, "deploy/nothere"))
	kit.ExpectFailure(1, "there is none", "kubectl get pods").Verify(t, "no pod by label", kit.RunKdiag(t, "shell", "-n", namespace, "-l", "app=nothere"))
	kit.ExpectFailure(1, "no such container", "it has: one, two").Verify(t, "no such container", kit.RunKdiag(t, "shell", "-n", namespace, "several", "-c", "three"))
	kit.ExpectFailure(1, "not found", "has no pods").Verify(t, "no such namespace", kit.RunKdiag(t, "shell", "-n", "kdiag-no-such", "web"))
}

func TestFailNotRunning(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "notrunning.yaml"))
	kit.WaitUntil(t, "the pod to end", func() bool {
		return kit.RunKubectl(t, "get", "pod", "-n", namespace, "ended", "-o", "jsonpath={.status.phase}") == "Failed"
	})
	kit.WaitUntil(t, "the pod to be looked at by the scheduler", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "pending", "-o", "jsonpath={.status.conditions}"), "Unschedulable")
	})
	kit.ExpectFailure(1, "not running: the pod is not scheduled: Unschedulable", "kubectl describe pod").Verify(t, "a pending pod", kit.RunKdiag(t, "shell", "-n", namespace, "pending"))
	kit.ExpectFailure(1, "not running: it ended with exit code", "kubectl describe pod").Verify(t, "an ended pod", kit.RunKdiag(t, "shell", "-n", namespace, "ended"))
	kit.ExpectFailure(1, "not running: it waits: PodInitializing", "running now: setup; choose with -c").Verify(t, "an initializing pod", kit.RunKdiag(t, "shell", "-n", kit.SharedPods(t), "initializing"))
}

// TestFailImage has the kubelet's own reason, long before a time-out.
func TestFailImage(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	never := []string{"shell", "-n", namespace, "root", "--image=localhost/nothere:1", "--pull-policy=Never", "--timeout=30s"}
	kit.ExpectFailure(1, "is not present with pull policy of Never", "kdiag image").Verify(t, "an image that is not there", kit.RunKdiag(t, never...))
	kit.ExpectFailure(1, "failed to pull", "--image").Verify(t, "an image that cannot be pulled",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=127.0.0.1:1/nothere:1"))
	kit.ExpectFailure(1, "invalid reference format", "").Verify(t, "a bad image name", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=NOT/A/NAME", "--timeout=40s"))
	kit.ExpectFailure(1, "", "is localhost/kdiag-sample:debug a kdiag image").Verify(t, "an image that is not kdiag's",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=localhost/kdiag-sample:debug", "--pull-policy=Never"))
	// Once more: the kubelet's next try, not another container.
	before := kit.RunKubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
	kit.ExpectFailure(1, "is not present with pull policy of Never", "kdiag image").Verify(t, "the same image again", kit.RunKdiag(t, never...))
	if after := kit.RunKubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].name}"); after != before {
		t.Errorf("ephemeral containers: %q, before: %q, want no more", after, before)
	}
}

// TestFailWhileWaiting has the pod go, the user lose patience, or the time run
// out, while a registry does not answer.
func TestFailWhileWaiting(t *testing.T) {
	kit.RequireOwnCluster(t, "a registry that does not answer is at hand")

	port := kit.StartDeafServer(t, ":0")
	image := "10.199.0.1:" + port + "/deaf:1"
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	wait := []string{"shell", "-n", namespace, "root", "--image=" + image}

	kit.ExpectFailure(1, "no answer within 3s", "--timeout waits longer").Verify(t, "time-out", kit.RunKdiag(t, append(wait, "--timeout=3s")...))

	start := func() (*exec.Cmd, *strings.Builder) {
		cmd := exec.Command(kit.BinaryPath(), wait...)
		cmd.Env = kit.Environment()
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		kit.WaitUntil(t, "the container to be asked for", func() bool {
			return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].image}"), image)
		})
		return cmd, &stderr
	}

	cmd, stderr := start()
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || strings.Contains(stderr.String(), "kdiag: ") {
		t.Errorf("Ctrl-C while waiting: code %d, stderr %q, want 130 and no error", code, stderr.String())
	}

	cmd, stderr = start()
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false")
	_ = cmd.Wait()
	kit.ExpectFailure(1, "the pod was deleted meanwhile", "").Verify(t, "pod deleted", kit.NewResult("", stderr.String(), cmd.ProcessState.ExitCode()))
}

// TestFailPodSecurity names the level, and what would pass.
func TestFailPodSecurity(t *testing.T) {
	namespace := kit.CreateNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	kit.ExpectFailure(1, `violates PodSecurity "baseline:latest"`, "admitted here: --profile=baseline, --profile=restricted").Verify(t, "a profile that is refused",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=setns"))
}
