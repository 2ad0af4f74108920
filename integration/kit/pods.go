package kit

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A kind of pod and what a shell in it must see.
type PodKind struct {
	Name   string
	Target []string // arguments that select it
	Who    string   // $WHO, or $SAMPLE where there is none
	UID    string   // of the application
}

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

// WaitForPods waits until every container that is meant to run does. The pod
// "initializing" stays in its init container.
func WaitForPods(t *testing.T, namespace string) {
	t.Helper()
	WaitUntil(t, "the pods of "+namespace, func() bool {
		states := RunKubectl(t, "get", "pods", "-n", namespace, "-o",
			`jsonpath={range .items[*]}{.metadata.name}{range .status.containerStatuses[*]} {.state.running.startedAt}{end}{range .status.initContainerStatuses[*]} {.state.running.startedAt}{end}{"\n"}{end}`)
		for line := range strings.Lines(states) {
			fields := strings.Fields(line)
			want := map[string]int{"several": 3, "sharedpids": 3, "sidecar": 3, "initializing": 2}[fields[0]]
			if want == 0 {
				want = 2
			}
			if len(fields) < want {
				return false
			}
		}

		return states != ""
	})
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

// ListEphemeralContainers lists the ephemeral containers of a pod, by name.
func ListEphemeralContainers(t *testing.T, namespace, pod string) []string {
	t.Helper()
	return strings.Fields(RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.spec.ephemeralContainers[*].name}"))
}

// PatchPodStatus speaks for the kubelet.
func PatchPodStatus(t *testing.T, namespace, pod string, status map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	RunKubectl(t, "patch", "pod", "-n", namespace, pod, "--subresource=status", "--type=merge", "-p", string(patch))
}
