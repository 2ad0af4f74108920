package integration

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"kdiag/integration/kit"
	"kdiag/integration/testenv"
)

// TestTerminationMessageIsPrintable makes the last words of an application
// printable, which the kubelet takes as the termination message.
func TestTerminationMessageIsPrintable(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, `
apiVersion: v1
kind: Pod
metadata: {name: ended}
spec:
  restartPolicy: Never
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never,
     terminationMessagePolicy: FallbackToLogsOnError, args: [`+strconv.QuoteToASCII("EVIL"+kit.Escapes)+`]}`)

	kit.WaitForPodField(t, namespace, "ended", "{.status.containerStatuses[0].state.terminated.message}", kit.Escapes)
	for _, args := range [][]string{{"shell", "ended"}, {"ps", "ended"}, {"doctor", "ended"}, {"doctor", "-o", "json", "ended"}} {
		got := kit.RunKdiag(t, append(args, "-n", namespace)...)
		testenv.VerifyPrintable(t, args[0], got.Stdout+got.Stderr)
		if !strings.Contains(got.Stdout+got.Stderr, "exited with code 1: Error: ") || !strings.Contains(got.Stdout+got.Stderr, "EVIL") {
			t.Errorf("%q: %v, want the application's last words", args, got)
		}
	}
}

// TestHostileKubelet makes what a kubelet says printable: its statuses and its
// events. The test speaks for the kubelet, for the pods' node does not exist.
func TestHostileKubelet(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	shell, container := startShellWithoutKubelet(t, namespace, "status")
	kit.PatchPodStatus(t, namespace, "status", map[string]any{"ephemeralContainerStatuses": []any{map[string]any{
		"name": container, "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
		"state": map[string]any{"terminated": map[string]any{"exitCode": 1, "reason": "Error" + kit.Escapes, "message": "EVIL" + kit.Escapes}},
	}}})
	verifyShowsEvilWords(t, shell)

	shell, container = startShellWithoutKubelet(t, namespace, "events")
	event, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": "evil"}, "reason": "Failed", "type": "Warning", "message": "EVIL" + kit.Escapes,
		"involvedObject": map[string]any{
			"kind": "Pod", "namespace": namespace, "name": "events", "fieldPath": "spec.ephemeralContainers{" + container + "}",
			"uid": kit.ReadPodField(t, namespace, "events", "{.metadata.uid}"),
		},
	})

	kit.ApplyManifest(t, namespace, string(event))
	verifyShowsEvilWords(t, shell)
}

// startShellWithoutKubelet creates a pod on a node that does not exist, starts a
// shell in it, and returns the name of the container that the shell asks for.
func startShellWithoutKubelet(t *testing.T, namespace, pod string) (shell *kit.Process, container string) {
	t.Helper()
	kit.ApplyManifest(t, namespace, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "`+pod+`"},
		"spec": {"nodeName": "kdiag-no-such-node", "containers": [{"name": "app", "image": "x"}]}}`)
	kit.PatchPodStatus(t, namespace, pod, map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
		"name": "app", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
		"containerID": "containerd://x", "state": map[string]any{"running": map[string]any{}},
	}}})

	shell = kit.StartKdiag(t, "shell", "-n", namespace, pod)
	kit.WaitUntil(t, "the container to be asked for", func() bool {
		container = kit.ReadPodField(t, namespace, pod, "{.spec.ephemeralContainers[*].name}")
		return container != ""
	})
	return shell, container
}

// verifyShowsEvilWords wants a shell to fail with the kubelet's words, printable.
func verifyShowsEvilWords(t *testing.T, shell *kit.Process) {
	t.Helper()
	got := shell.WaitForEnd()
	testenv.VerifyPrintable(t, "shell", got.Stdout+got.Stderr)
	if got.Code != 1 || !strings.Contains(got.Stderr, "EVIL\uFFFD[2J") {
		t.Errorf("shell: %v, want the kubelet's words", got)
	}
}
