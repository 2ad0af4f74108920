package integration

import (
	"context"
	"fmt"
	"kdiag/integration/kit"
	"strings"
	"testing"
)

// listEveryCommand lists command lines that add a container to a pod.
func listEveryCommand(namespace, pod string) [][]string {
	return [][]string{
		{"shell", "-n", namespace, pod, "--", "-c", "true"},
		{"ps", "-n", namespace, pod},
		{"manage", "-n", namespace, pod},
		{"redir", "-n", namespace, pod, "8080:1"},
		{"redir", "-n", namespace, pod},
	}
}

// verifyRefusedAtOnce has every command say the same of a pod, without a request for
// a container.
func verifyRefusedAtOnce(t *testing.T, namespace, pod string, f kit.Failure) {
	t.Helper()
	for _, args := range listEveryCommand(namespace, pod) {
		// A wait would end with the time-out's words.
		args = append([]string{args[0], "--timeout=20s"}, args[1:]...)
		f.Verify(t, strings.Join(args, " "), kit.RunKdiag(t, args...))
	}

	checks, all := kit.RunDoctor(t, "-n", namespace, pod)
	if f.Hint == "" {
		f.Hint = "kubectl"
	}

	kit.ExpectCheck("target", "failed", f.Words, f.Hint).Verify(t, checks, all)
	if made := kit.ListEphemeralContainers(t, namespace, pod); len(made) != 0 {
		t.Errorf("containers of %s: %q, want none", pod, made)
	}
}

// TestStaticPod is the API server's mirror of one: on a node without a kubelet,
// which would take the mirror of a file that it has not away.
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

	status := `{"status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
		"containerID": "containerd://0123", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}`
	kit.RunKubectl(t, "patch", "pod", "-n", namespace, "static", "--subresource=status", "--type=merge", "-p", status)
	verifyRefusedAtOnce(t, namespace, "static", kit.ExpectFailure(1, "static pods take no ephemeral containers", "kubectl debug node/"+node))
}

// TestWindowsPod is told by what a pod says, and by the nodes that it chooses.
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
		verifyRefusedAtOnce(t, namespace, name, kit.ExpectFailure(1, "kdiag needs Linux containers", "kubectl debug"))
	}
}

// TestNotRunning has every command say at once why nothing can be started in a
// pod that is not up.
func TestNotRunning(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "notrunning.yaml"))
	for pod, phase := range map[string]string{"ended": "Failed", "done": "Succeeded"} {
		kit.WaitUntil(t, "pod "+pod+" to end", func() bool {
			return kit.RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.phase}") == phase
		})
	}

	kit.WaitUntil(t, "the pods to be looked at", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "pending", "-o", "jsonpath={.status.conditions}"), "Unschedulable") &&
			strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "imageless", "-o", "jsonpath={.status.containerStatuses}"), "ErrImageNeverPull")
	})
	for pod, words := range map[string]string{
		"pending":   "not running: the pod is not scheduled: Unschedulable",
		"ended":     "it ended with exit code",
		"done":      "it ended with exit code 0",
		"imageless": "it waits: ErrImageNeverPull",
	} {
		verifyRefusedAtOnce(t, namespace, pod, kit.ExpectFailure(1, words, "kubectl describe pod"))
	}

	kit.RunKubectl(t, "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": ["kdiag.test/stay"]}}`)
	t.Cleanup(func() {
		_, _ = kit.TryKubectl(context.WithoutCancel(t.Context()), "", "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
	})
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "pending", "--wait=false")
	verifyRefusedAtOnce(t, namespace, "pending", kit.ExpectFailure(1, "it is being deleted", "has: "))
}

// TestQuota is a namespace where every pod must have limits, within a range:
// neither is asked of ephemeral containers, which share their pod's.
func TestQuota(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "quota.yaml"))
	kit.WaitForPods(t, namespace)
	if limits := kit.RunKubectl(t, "get", "pod", "-n", namespace, "limited", "-o", "jsonpath={.spec.containers[*].resources.limits}"); !strings.Contains(limits, `"memory":"32Mi"`) {
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
