package kit

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// PodKind describes a pod of pods.yaml and what a shell in it must see.
type PodKind struct {
	Name   string
	Target []string // arguments that select it
	Who    string   // $WHO, or $SAMPLE where there is none
	UID    string   // of the application
}

// PodKinds lists every kind of pod that kdiag enters.
var PodKinds = []PodKind{
	{"scratch", []string{"deploy/web"}, "scratch", "0"},
	{"distroless", []string{"distroless"}, "distroless", "65532"},
	{"readOnlyRootFilesystem", []string{"readonly"}, "scratch", "0"},
	{"runAsNonRoot", []string{"nonroot"}, "scratch", "1000"},
	{"second container", []string{"several", "-c", "two"}, "two", "65532"},
	{"shareProcessNamespace", []string{"sharedpids", "-c", "one"}, "one", "0"},
	{"shareProcessNamespace second", []string{"sharedpids", "-c", "two"}, "two", "65532"},
	{"hostPID", []string{"hostpid"}, "hostpid", "0"},
	{"sidecar", []string{"sidecar", "-c", "proxy"}, "sidecar", "0"},
	{"init container", []string{"initializing", "-c", "setup"}, "init", "0"},
}

// AddPods applies the pods of a manifest and waits until they run.
func AddPods(t *testing.T, namespace, manifest string) {
	t.Helper()
	ApplyManifest(t, namespace, manifest)
	WaitForPods(t, namespace)
}

// WaitForPods waits until every container of a namespace that is meant to run
// does.
func WaitForPods(t *testing.T, namespace string) {
	t.Helper()
	const starts = `jsonpath={range .items[*]}{.metadata.name}` +
		`{range .status.containerStatuses[*]} {.state.running.startedAt}{end}` +
		`{range .status.initContainerStatuses[*]} {.state.running.startedAt}{end}{"\n"}{end}`
	WaitUntil(t, "the pods of "+namespace, func() bool {
		started := RunKubectl(t, "get", "pods", "-n", namespace, "-o", starts)
		for line := range strings.Lines(started) {
			words := strings.Fields(line)
			if len(words)-1 < countContainers(words[0]) {
				return false
			}
		}
		return started != ""
	})
}

// countContainers returns how many containers of a pod of testdata/manifests are
// meant to run.
func countContainers(pod string) int {
	switch pod {
	case "several", "sharedpids", "sidecar", "memory":
		return 2
	}
	// The pod "initializing" stays in its init container.
	return 1
}

// ReadPod reads a pod as the API server has it.
func ReadPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := json.Unmarshal([]byte(RunKubectl(t, "get", "pod", "-n", namespace, name, "-o", "json")), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// ReadPodField reads what a JSONPath template makes of a pod.
func ReadPodField(t testing.TB, namespace, pod, template string) string {
	t.Helper()
	return RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath="+template)
}

// WaitForPodField waits until what a JSONPath template makes of a pod contains a
// text.
func WaitForPodField(t *testing.T, namespace, pod, template, text string) {
	t.Helper()
	WaitUntil(t, text+" in "+template+" of pod "+pod, func() bool {
		return strings.Contains(ReadPodField(t, namespace, pod, template), text)
	})
}

// ListEphemeralContainers returns the names of the ephemeral containers of a pod.
func ListEphemeralContainers(t *testing.T, namespace, pod string) []string {
	t.Helper()
	return strings.Fields(ReadPodField(t, namespace, pod, "{.spec.ephemeralContainers[*].name}"))
}

// VerifyContainerCount fails unless a pod has so many ephemeral containers.
func VerifyContainerCount(t *testing.T, namespace, pod string, want int) {
	t.Helper()
	if got := ListEphemeralContainers(t, namespace, pod); len(got) != want {
		t.Errorf("ephemeral containers of %s: %q, want %d", pod, got, want)
	}
}

// WaitForContainerEnd waits until an ephemeral container of a pod has ended with
// exit code 0.
func WaitForContainerEnd(t *testing.T, namespace, pod, container string) {
	t.Helper()
	template := `{.status.ephemeralContainerStatuses[?(@.name=="` + container + `")].state.terminated.exitCode}`
	WaitUntil(t, "container "+container+" to end", func() bool {
		return ReadPodField(t, namespace, pod, template) == "0"
	})
}

// PatchPodStatus changes the status of a pod, as its kubelet would.
func PatchPodStatus(t *testing.T, namespace, pod string, status map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	RunKubectl(t, "patch", "pod", "-n", namespace, pod, "--subresource=status", "--type=merge", "-p", string(patch))
}
