package integration

import (
	"bytes"
	"encoding/json"
	"kdiag/integration/kit"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestTerminationMessageIsPrintable has an application end with escape sequences
// as its last words, which the kubelet makes the termination message.
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

	kit.WaitUntil(t, "the termination message", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "ended", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.message}"), kit.Escapes)
	})
	for _, args := range [][]string{{"shell", "ended"}, {"ps", "ended"}, {"doctor", "ended"}, {"doctor", "-o", "json", "ended"}} {
		got := kit.RunKdiag(t, append(args, "-n", namespace)...)
		kit.VerifyPrintable(t, args[0], got.Stdout+got.Stderr)
		if !strings.Contains(got.Stdout+got.Stderr, "ended with exit code 1: Error: ") || !strings.Contains(got.Stdout+got.Stderr, "EVIL") {
			t.Errorf("%q: %v, want the application's last words", args, got)
		}
	}
}

// TestHostileKubelet is a pod on a node that nobody but the test speaks for: the
// kubelet's statuses and events have escape sequences in them.
func TestHostileKubelet(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	start := func(name string) (*exec.Cmd, *bytes.Buffer, string) {
		t.Helper()
		kit.ApplyManifest(t, namespace, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "`+name+`"},
			"spec": {"nodeName": "kdiag-no-such-node", "containers": [{"name": "app", "image": "x"}]}}`)
		kit.PatchPodStatus(t, namespace, name, map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
			"name": "app", "image": "x", "imageID": "x", "ready": true, "restartCount": 0, "containerID": "containerd://x", "state": map[string]any{"running": map[string]any{}},
		}}})
		cmd := exec.Command(kit.BinaryPath(), "shell", "-n", namespace, name)
		cmd.Env = kit.Environment()
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		container := ""
		kit.WaitUntil(t, "the container to be asked for", func() bool {
			container = kit.RunKubectl(t, "get", "pod", "-n", namespace, name, "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
			return container != ""
		})
		return cmd, &output, container
	}

	check := func(cmd *exec.Cmd, output *bytes.Buffer) {
		t.Helper()
		_ = cmd.Wait()
		kit.VerifyPrintable(t, "shell", output.String())
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(output.String(), "EVIL�[2J") {
			t.Errorf("shell: code %d, %q, want the kubelet's words", cmd.ProcessState.ExitCode(), output)
		}
	}

	cmd, output, container := start("status")
	kit.PatchPodStatus(t, namespace, "status", map[string]any{"ephemeralContainerStatuses": []any{map[string]any{
		"name": container, "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
		"state": map[string]any{"terminated": map[string]any{"exitCode": 1, "reason": "Error" + kit.Escapes, "message": "EVIL" + kit.Escapes}},
	}}})
	check(cmd, output)

	cmd, output, container = start("events")
	event, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": "evil"}, "reason": "Failed", "type": "Warning", "message": "EVIL" + kit.Escapes,
		"involvedObject": map[string]any{
			"kind": "Pod", "namespace": namespace, "name": "events", "fieldPath": "spec.ephemeralContainers{" + container + "}",
			"uid": kit.RunKubectl(t, "get", "pod", "-n", namespace, "events", "-o", "jsonpath={.metadata.uid}"),
		},
	})

	kit.ApplyManifest(t, namespace, string(event))
	check(cmd, output)
}
