package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// listEveryCommand returns command lines that add a container to a pod.
func listEveryCommand(namespace, pod string) [][]string {
	return [][]string{
		{"shell", "-n", namespace, pod, "--", "-c", "true"},
		{"ps", "-n", namespace, pod},
		{"manage", "-n", namespace, pod},
		{"redir", "-n", namespace, pod, "8080:1"},
		{"redir", "-n", namespace, pod},
	}
}

// verifyRefusedAtOnce has every command refuse a pod for the same reason, without a
// request for a container.
func verifyRefusedAtOnce(t *testing.T, namespace, pod string, f kit.Failure) {
	t.Helper()
	for _, args := range listEveryCommand(namespace, pod) {
		// Had it waited, it would fail with what the time-out says.
		args = append([]string{args[0], "--timeout=20s"}, args[1:]...)
		f.Verify(t, strings.Join(args, " "), kit.RunKdiag(t, args...))
	}

	report := kit.RunDoctor(t, "-n", namespace, pod)
	report.Verify(t, "target", "failed", f.Words, f.Hint)
	kit.VerifyContainerCount(t, namespace, pod, 0)
}

// TestStaticPod refuses the API server's mirror of a static pod. Its node has no
// kubelet, which would delete the mirror of a file that it does not have.
func TestStaticPod(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	node := namespace
	kit.ApplyClusterWide(t, fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: %s}}", node))
	kit.ApplyManifest(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: static
  annotations: {kubernetes.io/config.mirror: "0123", kubernetes.io/config.source: file}
spec:
  nodeName: %s
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch"}
`, node))

	kit.PatchPodStatus(t, namespace, "static", map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
		"name": "app", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
		"containerID": "containerd://0123", "state": map[string]any{"running": map[string]any{"startedAt": "2026-01-01T00:00:00Z"}},
	}}})
	verifyRefusedAtOnce(t, namespace, "static", kit.ExpectFailure(1, "static pods do not support ephemeral containers", "kubectl debug node/"+node))
}

// TestWindowsPod refuses a pod that says that it is for Windows, and one that
// chooses Windows nodes.
func TestWindowsPod(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	for name, spec := range map[string]string{
		"says":    "os: {name: windows}",
		"chooses": "nodeSelector: {kubernetes.io/os: windows}",
	} {
		kit.ApplyManifest(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  %s
  containers:
  - {name: app, image: mcr.microsoft.com/windows/nanoserver}
`, name, spec))
		verifyRefusedAtOnce(t, namespace, name, kit.ExpectFailure(1, "kdiag does not support Windows pods", "kubectl debug"))
	}
}

// TestNotRunning has every command say at once why nothing can be started in a pod
// that is not running.
func TestNotRunning(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "notrunning.yaml"))
	kit.WaitForPodField(t, namespace, "ended", "{.status.phase}", "Failed")
	kit.WaitForPodField(t, namespace, "done", "{.status.phase}", "Succeeded")
	kit.WaitForPodField(t, namespace, "pending", "{.status.conditions}", "Unschedulable")
	kit.WaitForPodField(t, namespace, "imageless", "{.status.containerStatuses}", "ErrImageNeverPull")

	for pod, words := range map[string]string{
		"pending":   "not running: the pod is not scheduled: Unschedulable",
		"ended":     "it exited with code",
		"done":      "it exited with code 0",
		"imageless": "it is waiting: ErrImageNeverPull",
	} {
		verifyRefusedAtOnce(t, namespace, pod, kit.ExpectFailure(1, words, "kubectl describe pod"))
	}

	// A finalizer keeps a pod that is terminating.
	kit.RunKubectl(t, "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": ["kdiag.test/stay"]}}`)
	t.Cleanup(func() {
		_, _ = kit.TryKubectl(context.WithoutCancel(t.Context()), "", "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
	})
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "pending", "--wait=false")
	verifyRefusedAtOnce(t, namespace, "pending", kit.ExpectFailure(1, "terminating", "kubectl describe pod"))
}

// TestQuota enters a pod in a namespace where every pod must have limits, within a
// range. Ephemeral containers need none, for they share those of their pod.
func TestQuota(t *testing.T) {
	namespace := kit.CreatePods(t, "quota.yaml")
	if limits := kit.ReadPodField(t, namespace, "limited", "{.spec.containers[*].resources.limits}"); !strings.Contains(limits, `"memory":"32Mi"`) {
		t.Fatalf("limits: %s, want those of the LimitRange", limits)
	}

	got := kit.RunKdiag(t, "shell", "-n", namespace, "limited", "--", "-c", "echo here")
	if got.Code != 0 || got.Stdout != "here\n" || strings.Contains(got.Stderr, "refused") {
		t.Errorf("shell: %v\nwant one of the first choice", got)
	}

	kit.StartRedirects(t, 1, "-n", namespace, "limited", "8080:1").Interrupt()
	if got := kit.RunKdiag(t, "ps", "-n", namespace, "limited"); got.Code != 0 {
		t.Errorf("ps: %v", got)
	}
	if used := kit.RunKubectl(t, "get", "quota", "-n", namespace, "all", "-o", "jsonpath={.status.used.pods}"); used != "1" {
		t.Errorf("pods counted by the quota: %s, want 1", used)
	}
}
