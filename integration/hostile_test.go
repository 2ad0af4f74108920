package integration

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// escapes clear a terminal's screen and set its title; the last two do it with
// one character of C1, and turn the direction of writing.
const escapes = "\x1b[2J\x1b]0;x\x07\u009b2J\u202e"

// checkTerminal fails for anything that a terminal would not just show.
func checkTerminal(t *testing.T, where, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is no UTF-8: %q", where, text)
	}
	for _, r := range text {
		if r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Fatalf("%s has %U in it: %q", where, r, text)
		}
	}
}

// TestTerminationMessageIsPrintable has an application end with escape sequences
// as its last words, which the kubelet makes the termination message.
func TestTerminationMessageIsPrintable(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, `
apiVersion: v1
kind: Pod
metadata: {name: ended}
spec:
  restartPolicy: Never
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never,
     terminationMessagePolicy: FallbackToLogsOnError, args: [`+strconv.QuoteToASCII("EVIL"+escapes)+`]}`)

	eventually(t, "the termination message", func() bool {
		return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "ended", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.message}"), escapes)
	})
	for _, args := range [][]string{{"shell", "ended"}, {"ps", "ended"}, {"doctor", "ended"}, {"doctor", "-o", "json", "ended"}} {
		got := kdiag(t, append(args, "-n", namespace)...)
		checkTerminal(t, args[0], got.stdout+got.stderr)
		if !strings.Contains(got.stdout+got.stderr, "ended with exit code 1: Error: ") || !strings.Contains(got.stdout+got.stderr, "EVIL") {
			t.Errorf("%q: %v, want the application's last words", args, got)
		}
	}
}

// TestHostileKubelet is a pod on a node that nobody but the test speaks for: the
// kubelet's statuses and events have escape sequences in them.
func TestHostileKubelet(t *testing.T) {
	namespace := newNamespace(t)
	start := func(name string) (*exec.Cmd, *bytes.Buffer, string) {
		t.Helper()
		apply(t, namespace, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "`+name+`"},
			"spec": {"nodeName": "kdiag-no-such-node", "containers": [{"name": "app", "image": "x"}]}}`)
		patchStatus(t, namespace, name, map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
			"name": "app", "image": "x", "imageID": "x", "ready": true, "restartCount": 0, "containerID": "containerd://x", "state": map[string]any{"running": map[string]any{}},
		}}})
		cmd := exec.Command(shared.binary(), "shell", "-n", namespace, name)
		cmd.Env = shared.env()
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		container := ""
		eventually(t, "the container to be asked for", func() bool {
			container = kubectl(t, "get", "pod", "-n", namespace, name, "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
			return container != ""
		})
		return cmd, &output, container
	}

	check := func(cmd *exec.Cmd, output *bytes.Buffer) {
		t.Helper()
		_ = cmd.Wait()
		checkTerminal(t, "shell", output.String())
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(output.String(), "EVIL�[2J") {
			t.Errorf("shell: code %d, %q, want the kubelet's words", cmd.ProcessState.ExitCode(), output)
		}
	}

	cmd, output, container := start("status")
	patchStatus(t, namespace, "status", map[string]any{"ephemeralContainerStatuses": []any{map[string]any{
		"name": container, "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
		"state": map[string]any{"terminated": map[string]any{"exitCode": 1, "reason": "Error" + escapes, "message": "EVIL" + escapes}},
	}}})
	check(cmd, output)

	cmd, output, container = start("events")
	event, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": "evil"}, "reason": "Failed", "type": "Warning", "message": "EVIL" + escapes,
		"involvedObject": map[string]any{
			"kind": "Pod", "namespace": namespace, "name": "events", "fieldPath": "spec.ephemeralContainers{" + container + "}",
			"uid": kubectl(t, "get", "pod", "-n", namespace, "events", "-o", "jsonpath={.metadata.uid}"),
		},
	})

	apply(t, namespace, string(event))
	check(cmd, output)
}

// patchStatus speaks for the kubelet.
func patchStatus(t *testing.T, namespace, pod string, status map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	kubectl(t, "patch", "pod", "-n", namespace, pod, "--subresource=status", "--type=merge", "-p", string(patch))
}
