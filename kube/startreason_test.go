package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These are the words of kubelets and runtimes, as they were seen.
const (
	runcFailed = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
	pullFailed = `Failed to pull image "r.example/kdiag:1": failed to pull and unpack image "r.example/kdiag:1": failed to resolve reference: `
)

// TestClassifyStartFailure tells why a container does not start by what the kubelet and the runtime say.
func TestClassifyStartFailure(t *testing.T) {
	for _, c := range []struct {
		reason, message string
		want            startFailure
	}{
		{"ErrImageNeverPull", `Container image "localhost/kdiag:1" is not present with pull policy of Never`, neverPulled},
		{"", `Error: ErrImageNeverPull`, neverPulled},
		{"InvalidImageName", `Failed to apply default image tag "A": couldn't parse image name`, badImageName},
		{"ErrImagePull", `failed to resolve reference "r.example/kdiag:1": pull access denied, insufficient_scope: authorization failed`, notPulled},
		{"ImagePullBackOff", `Back-off pulling image "r.example/kdiag:1"`, notPulled},
		{"", pullFailed + "dial tcp: lookup r.example: no such host", notPulled},
		{"", "Error: ImagePullBackOff", notPulled},
		{"", `Failed to pull image "kdiag": no match for platform in manifest: not found`, otherPlatform},
		{"it exited with code 255", `Error: exec /kdiag: exec format error`, otherPlatform},
		{"CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: \"web\", container: kdiag-net-abcde)", mustNotBeRoot},
		{"CreateContainerConfigError", "container's runAsUser breaks non-root policy", mustNotBeRoot},
		{"it exited with code 128", "StartError: " + runcFailed + "container init was OOM-killed (memory limit too low?)", outOfMemory},
		{"it exited with code 137", "OOMKilled", outOfMemory},
		{"RunContainerError", runcFailed + "can't get final child's PID from pipe: lstat /proc/4711/ns/pid: no such file or directory", noTarget},
		{"", "Error: " + runcFailed + "failed to join namespace pid: no such process", noTarget},
		{"CreateContainerError", `invalid target container: container "a1" is not running - in state CONTAINER_EXITED`, noTarget},
		{"it exited with code 128", "StartError: " + runcFailed + `exec: "/kdiag": stat /kdiag: no such file or directory`, notKdiag},
		{"it exited with code 127", "StartError: executable file `/kdiag` not found: No such file or directory", notKdiag},
		{"it exited with code 128", "StartError: " + runcFailed + "error mounting: no space left on device", notStarted},
		{"it exited with code 137", "Error", killed},
		{"it exited with code 2", "Error: kdiag: unknown flag --x", olderKdiag},
		{"it exited with code 127", `Error: kdiag: unknown command "manager"`, olderKdiag},
		{"it exited with code 2", "Error: kdiag: --role=net needs --user", refusedOptions},
		{"CreateContainerError", "context deadline exceeded", otherFailure},
	} {
		if got := (&startError{c.reason, c.message}).classify(); got != c.want {
			t.Errorf("classify(%s: %s) = %d, want %d", c.reason, c.message, got, c.want)
		}
	}
}

// startingPod is an API server with one pod, whose kubelet does with an added container as told.
type startingPod struct {
	*http.ServeMux
	// states are what becomes of the container, one after the other.
	states []corev1.ContainerState
	// node is what the API server knows of the node.
	node corev1.Node

	mu  sync.Mutex
	pod corev1.Pod
}

func newStartingPod(states ...corev1.ContainerState) *startingPod {
	p := &startingPod{ServeMux: http.NewServeMux(), states: states}
	p.pod = corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "1", ResourceVersion: "1"},
		Spec:       corev1.PodSpec{NodeName: "node"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	p.HandleFunc("PATCH /api/v1/namespaces/ns/pods/web/ephemeralcontainers", p.addContainer)
	p.HandleFunc("GET /api/v1/namespaces/ns/pods", p.watch)
	p.HandleFunc("GET /api/v1/nodes/node", func(w http.ResponseWriter, _ *http.Request) {
		p.node.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}
		node, _ := json.Marshal(p.node)
		answerJSON(w, string(node))
	})
	return p
}

func (p *startingPod) addContainer(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()

	var added corev1.Pod
	if err := json.NewDecoder(r.Body).Decode(&added); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.pod.Spec.EphemeralContainers = append(p.pod.Spec.EphemeralContainers, added.Spec.EphemeralContainers...)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(p.pod)
}

// watch tells of each state in turn, and then of nothing more.
func (p *startingPod) watch(w http.ResponseWriter, r *http.Request) {
	for n, state := range p.states {
		p.mu.Lock()
		now := p.pod.DeepCopy()
		p.mu.Unlock()

		now.ResourceVersion = fmt.Sprint(n + 2)
		for _, c := range now.Spec.EphemeralContainers {
			now.Status.EphemeralContainerStatuses = append(now.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: state})
		}
		object, _ := json.Marshal(now)
		answerJSON(w, fmt.Sprintf(`{"type": "MODIFIED", "object": %s}`, object))
	}
	<-r.Context().Done()
}

func waitingFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// ensureNet asks for a net container in the pod, for as long as the time-out says.
func (p *startingPod) ensureNet(t *testing.T, timeout time.Duration) (notices []string, err error) {
	t.Helper()
	ctx, cancel := WithTimeout(t.Context(), timeout)
	defer cancel()
	var mu sync.Mutex
	notice := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, text)
	}
	_, err = connectTo(t, p).EnsureNet(ctx, NetRequest{Pod: p.pod.DeepCopy(), ManagerContainer: ManagerContainer{Image: "kdiag:1", Notice: notice}})
	return notices, err
}

// TestStartFailuresHaveHints wants each failure named, with a hint of its own.
func TestStartFailuresHaveHints(t *testing.T) {
	exited := func(code int32, reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}
	}
	for _, c := range []struct {
		state      corev1.ContainerState
		said, hint string
	}{
		{exited(137, "OOMKilled", ""), "too little memory in the pod", "raise the pod's memory limit"},
		{exited(128, "StartError", runcFailed+"container init was OOM-killed"), "too little memory in the pod", "raise the pod's memory limit"},
		{waitingFor("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"), "may not run as root", "policy or webhook"},
		{waitingFor("RunContainerError", runcFailed+"lstat /proc/9/ns/pid: no such file or directory"), "has ended meanwhile", "run the command again"},
		{exited(128, "StartError", runcFailed+`exec: "/kdiag": stat /kdiag: no such file or directory`), "no kdiag in the image", "is a kdiag image"},
		{waitingFor("ErrImageNeverPull", "is not present with pull policy of Never"), "pull policy of Never", "kdiag image save"},
		{exited(137, "Error", ""), "it was killed at once", "run the command again"},
		{waitingFor("CreateContainerError", "context deadline exceeded"), "context deadline exceeded", "kubectl describe pod"},
	} {
		notices, err := newStartingPod(waitingFor("ContainerCreating", ""), c.state).ensureNet(t, time.Minute)
		var said *Error
		if !errors.As(err, &said) || !strings.Contains(said.Error(), c.said) || !strings.Contains(said.Next, c.hint) || len(notices) > 0 {
			t.Errorf("%v: %v, notices %q, want %q and the hint %q, got %q", c.state, err, notices, c.said, c.hint, said.Hint())
		}
	}
}

// TestPullIsRetried wants a wait for an image that the kubelet cannot pull at first: it says so
// once, and goes on until the container runs.
func TestPullIsRetried(t *testing.T) {
	pod := newStartingPod(waitingFor("ErrImagePull", "rpc error: no such host"), waitingFor("ImagePullBackOff", "Back-off pulling image"),
		waitingFor("ErrImagePull", "rpc error: no such host"), corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	notices, err := pod.ensureNet(t, time.Minute)
	if err != nil || len(notices) != 1 || !strings.Contains(notices[0], "no such host; waiting for the kubelet to retry") {
		t.Errorf("an image that is pulled at last: %v, notices %q, want one notice of the failure", err, notices)
	}
}

// TestPullThatNeverWorks wants the kubelet's reason when the time is over, and a hint that names what
// the pod has to log in with, and how the kubelet goes on.
func TestPullThatNeverWorks(t *testing.T) {
	failing := []corev1.ContainerState{waitingFor("ErrImagePull", "rpc error: authorization failed"), waitingFor("ImagePullBackOff", "Back-off")}
	pod := newStartingPod(failing...)
	_, err := pod.ensureNet(t, 300*time.Millisecond)
	var said *Error
	if !errors.As(err, &said) || !strings.Contains(said.Error(), "not pulled within 300ms: ErrImagePull: rpc error: authorization failed") {
		t.Fatalf("an image that is never pulled: %v", err)
	}
	for _, want := range []string{"has no imagePullSecrets", "back-off", "--image REF"} {
		if !strings.Contains(said.Next, want) {
			t.Errorf("hint = %q, want %q in it", said.Next, want)
		}
	}

	pod = newStartingPod(failing...)
	pod.pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "regcred"}}
	_, err = pod.ensureNet(t, 300*time.Millisecond)
	if !errors.As(err, &said) || !strings.Contains(said.Next, "imagePullSecrets are regcred") {
		t.Errorf("with a secret: %v, hint %q, want it named", err, said.Hint())
	}

	pod = newStartingPod(failing...)
	pod.node.Status.Images = []corev1.ContainerImage{{Names: []string{"docker.io/library/kdiag:1", "r.example/kdiag:1"}}}
	_, err = pod.ensureNet(t, 300*time.Millisecond)
	if !errors.As(err, &said) || !strings.Contains(said.Next, "under another name") || !strings.Contains(said.Next, "(r.example/kdiag:1)") {
		t.Errorf("an image that the node has: %v, hint %q, want its other name", err, said.Hint())
	}
}
