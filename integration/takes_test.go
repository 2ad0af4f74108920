package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// everyCommand lists command lines that add a container to a pod.
func everyCommand(namespace, pod string) [][]string {
	return [][]string{
		{"shell", "-n", namespace, pod, "--", "-c", "true"},
		{"ps", "-n", namespace, pod},
		{"manage", "-n", namespace, pod},
		{"redir", "-n", namespace, pod, "8080:1"},
		{"redir", "-n", namespace, pod},
	}
}

// refusedAtOnce has every command say the same of a pod, without a request for
// a container.
func refusedAtOnce(t *testing.T, namespace, pod string, f failure) {
	t.Helper()
	for _, args := range everyCommand(namespace, pod) {
		// A wait would end with the time-out's words.
		args = append([]string{args[0], "--timeout=20s"}, args[1:]...)
		f.check(t, strings.Join(args, " "), kdiag(t, args...))
	}

	checks, all := doctor(t, "-n", namespace, pod)
	if f.hint == "" {
		f.hint = "kubectl"
	}

	want{"target", "failed", f.error, f.hint}.check(t, checks, all)
	if made := containersOf(t, namespace, pod); len(made) != 0 {
		t.Errorf("containers of %s: %q, want none", pod, made)
	}
}

// TestStaticPod is the API server's mirror of one: on a node without a kubelet,
// which would take the mirror of a file that it has not away.
func TestStaticPod(t *testing.T) {
	namespace := newNamespace(t)
	node := namespace
	applyAll(t, fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: %s}}", node))
	apply(t, namespace, fmt.Sprintf(`
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
	kubectl(t, "patch", "pod", "-n", namespace, "static", "--subresource=status", "--type=merge", "-p", status)
	refusedAtOnce(t, namespace, "static", failure{1, "static pods take no ephemeral containers", "kubectl debug node/" + node})
}

// TestWindowsPod is told by what a pod says, and by the nodes that it chooses.
func TestWindowsPod(t *testing.T) {
	namespace := newNamespace(t)
	for name, spec := range map[string]string{
		"says":    "os: {name: windows}",
		"chooses": "nodeSelector: {kubernetes.io/os: windows}",
	} {
		apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  %s
  containers:
  - {name: app, image: mcr.microsoft.com/windows/nanoserver}
`, name, spec))
		refusedAtOnce(t, namespace, name, failure{1, "kdiag needs Linux containers", "kubectl debug"})
	}
}

// TestNotRunning has every command say at once why nothing can be started in a
// pod that is not up.
func TestNotRunning(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "notrunning.yaml"))
	for pod, phase := range map[string]string{"ended": "Failed", "done": "Succeeded"} {
		eventually(t, "pod "+pod+" to end", func() bool {
			return kubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.status.phase}") == phase
		})
	}

	eventually(t, "the pods to be looked at", func() bool {
		return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "pending", "-o", "jsonpath={.status.conditions}"), "Unschedulable") &&
			strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "imageless", "-o", "jsonpath={.status.containerStatuses}"), "ErrImageNeverPull")
	})
	for pod, words := range map[string]string{
		"pending":   "not running: the pod is not scheduled: Unschedulable",
		"ended":     "it ended with exit code",
		"done":      "it ended with exit code 0",
		"imageless": "it waits: ErrImageNeverPull",
	} {
		refusedAtOnce(t, namespace, pod, failure{1, words, "kubectl describe pod"})
	}

	kubectl(t, "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": ["kdiag.test/stay"]}}`)
	t.Cleanup(func() {
		_, _ = shared.kubectl(context.WithoutCancel(t.Context()), "", "patch", "pod", "-n", namespace, "pending", "--type=merge", "-p", `{"metadata": {"finalizers": null}}`)
	})
	kubectl(t, "delete", "pod", "-n", namespace, "pending", "--wait=false")
	refusedAtOnce(t, namespace, "pending", failure{1, "it is being deleted", "has: "})
}
