package integration

import (
	"testing"

	"kdiag/integration/kit"
)

// addSandboxedPod makes a runtime class for a handler, and a pod of it.
func addSandboxedPod(t *testing.T, namespace, pod, class, handler string) {
	t.Helper()
	kit.ApplyClusterWide(t, `{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: `+class+`}, handler: `+handler+`}`)
	kit.ApplyManifest(t, namespace, `{apiVersion: v1, kind: Pod, metadata: {name: `+pod+`}, spec: {runtimeClassName: `+class+`,
		terminationGracePeriodSeconds: 1, containers: [{name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, args: ["127.0.0.1:0"]}]}}`)
}

// TestRedirSandboxes refuses a pod of a gVisor runtime class, even one that never starts,
// and adds nothing to it.
func TestRedirSandboxes(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	class := namespace + "-sandbox"
	addSandboxedPod(t, namespace, "boxed", class, "runsc")

	refusal := kit.ExpectFailure(1, "the pod runs in a gVisor sandbox (runtime class "+class+")", "without that runtime class")
	refusal.Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "boxed", "8080"))
	if got := kit.ReadPodField(t, namespace, "boxed", "{.spec.ephemeralContainers}"); got != "" {
		t.Errorf("ephemeral containers: %s, want none", got)
	}
}

// TestRedirSandboxByName judges by the class's name for a user who may not read its handler.
func TestRedirSandboxByName(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	addSandboxedPod(t, namespace, "named", "gvisor-"+namespace, "runc")
	kit.WaitUntil(t, "the pod to run", func() bool {
		return kit.ReadPodField(t, namespace, "named", "{.status.phase}") == "Running"
	})

	kit.RunDoctor(t, "-n", namespace, "named").Verify(t, "pod security: redir", "ok", "", "")

	// A role binding gives no right to what is in no namespace.
	user := []string{
		"--kubeconfig=/dev/null", "--server=" + kit.ReadServerURL(t).String(), "--insecure-skip-tls-verify",
		"--token=" + kit.CreateAdminToken(t, namespace), "-n", namespace, "named",
	}
	kit.RunDoctor(t, user...).Verify(t, "pod security: redir", "failed", "gVisor", "without that runtime class")
	kit.ExpectFailure(1, "the pod runs in a gVisor sandbox", "without that runtime class").
		Verify(t, "redir", kit.RunKdiag(t, append(append([]string{"redir"}, user...), "8080")...))
}
