package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"kdiag/mux/wire"

	gorilla "github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fakeAPI serves the Kubernetes API in this process, with one pod, and says what a
// real server never would.
type fakeAPI struct {
	*httptest.Server
	// words are added to every text that the server sends.
	words string
	// failureCode returns the HTTP status to fail a request with, or 0.
	failureCode func(r *http.Request) int
	// notKubernetes lets it answer errors with a page, as a proxy would.
	notKubernetes bool
	// denied lets it answer every access review with no.
	denied bool
	// started is the state that an added container reaches, or empty if it never
	// starts. events are what the kubelet reports about the container.
	started corev1.ContainerState
	events  []corev1.Event
	// stdout, stderr and failure are the results of every command in the pod.
	stdout, stderr string
	failure        *metav1.Status
	log            string

	mu       sync.Mutex
	pod      corev1.Pod
	requests []*http.Request
}

func newFakeAPI(t *testing.T, words string) *fakeAPI {
	t.Helper()
	api := &fakeAPI{words: words, failureCode: func(*http.Request) int { return 0 }, log: "2026-01-02T03:04:05.000000001Z a line\n"}
	api.started.Running = &corev1.ContainerStateRunning{}
	running := corev1.ContainerStatus{Name: "app" + words, State: api.started, ContainerID: "containerd://abc"}
	other := corev1.ContainerStatus{Name: "other" + words, State: api.started}
	api.pod = corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "web" + words, Namespace: "ns" + words, UID: "1", ResourceVersion: "1", Labels: map[string]string{"app" + words: words, "pod-template-hash": "1"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-1", UID: "2", Controller: new(true)}}},
		Spec: corev1.PodSpec{NodeName: "node" + words, Containers: []corev1.Container{
			{Name: "app" + words, Image: "image" + words}, {Name: "other" + words, Image: "image"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{running, other}},
	}

	api.Server = httptest.NewServer(api)
	t.Cleanup(api.Close)
	return api
}

// connectionFlags returns the flags that connect a command to the server.
func (a *fakeAPI) connectionFlags() []string {
	return []string{"--kubeconfig=/dev/null", "--server=" + a.URL}
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	a.mu.Unlock()

	w.Header().Set("Warning", fmt.Sprintf(`299 - "careful%s"`, stripControls(a.words)))
	if code := a.failureCode(r); code != 0 {
		a.writeFailure(w, code)
		return
	}

	watching := r.URL.Query().Get("watch") == "true" || r.URL.Query().Get("watch") == "1"
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case r.URL.Path == "/version":
		a.writeJSON(w, map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.0" + a.words})
	case last == "selfsubjectreviews":
		a.writeJSON(w, map[string]any{"status": map[string]any{"userInfo": map[string]string{"username": "me" + a.words}}})
	case last == "selfsubjectaccessreviews":
		a.writeJSON(w, map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "status": map[string]bool{"allowed": !a.denied}})
	case slices.Contains(parts, "nodes"):
		a.writeJSON(w, a.describeNode())
	case last == "events" && watching:
		a.serveWatch(w, r, a.currentEvents())
	case last == "events":
		a.writeJSON(w, corev1.EventList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "EventList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}})
	case last == "exec":
		a.serveExec(w, r)
	case last == "log":
		_, _ = io.WriteString(w, a.log)
	case last == "ephemeralcontainers":
		a.addContainer(w, r)
	case last == "pods" && watching:
		a.serveWatch(w, r, a.startedPod())
	case last == "pods" || last == "namespaces" || last == "deployments":
		a.writeJSON(w, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
			ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Pod{a.pod}})
	case slices.Contains(parts, "pods") && len(parts) == 6:
		a.writeJSON(w, a.pod)
	case parts[len(parts)-2] == "deployments":
		a.writeJSON(w, map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{
			"selector": map[string]any{"matchLabels": map[string]string{"app": "web"}}}})
	case parts[len(parts)-2] == "namespaces":
		a.writeJSON(w, corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"pod-security.kubernetes.io/enforce": "level" + a.words}}})
	default:
		a.writeFailure(w, http.StatusNotFound)
	}
}

// stripControls removes what net/http and client-go accept in no header.
func stripControls(words string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, words)
}

func (a *fakeAPI) writeJSON(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func (a *fakeAPI) writeFailure(w http.ResponseWriter, code int) {
	if a.notKubernetes {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "<p>page"+a.words)
		return
	}

	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	reasons := map[int]metav1.StatusReason{401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 422: "Invalid", 409: "Conflict", 429: "TooManyRequests"}
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code),
		Reason: reasons[code], Message: "refused" + a.words,
		Details: &metav1.StatusDetails{Name: "details" + a.words, Kind: "kind" + a.words, Causes: []metav1.StatusCause{
			{Type: metav1.CauseType("cause" + a.words), Message: "cause" + a.words, Field: "field" + a.words}}},
	})
}

func (a *fakeAPI) describeNode() corev1.Node {
	return corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "node" + a.words},
		Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KernelVersion: "6.1" + a.words}, Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "reason" + a.words}}},
	}
}

// addContainer adds an ephemeral container, which starts at once if it starts at all.
func (a *fakeAPI) addContainer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var added corev1.Pod
	if err := json.Unmarshal(body, &added); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}

	a.mu.Lock()
	defer a.mu.Unlock()

	pod := a.pod.DeepCopy()
	for _, container := range added.Spec.EphemeralContainers {
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, container)
		if a.started.Running != nil {
			pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: container.Name, State: a.started})
		}
	}

	if r.URL.Query().Get("dryRun") == "" {
		a.pod = *pod
	}

	a.writeJSON(w, pod)
}

// currentEvents returns the events, about the container that was added last.
func (a *fakeAPI) currentEvents() []corev1.Event {
	a.mu.Lock()
	defer a.mu.Unlock()

	var events []corev1.Event
	for _, event := range a.events {
		if n := len(a.pod.Spec.EphemeralContainers); n > 0 {
			event.InvolvedObject.FieldPath = "spec.ephemeralContainers{" + a.pod.Spec.EphemeralContainers[n-1].Name + "}"
		}
		events = append(events, event)
	}

	return events
}

// startedPod returns the pod as it is when its containers have started.
func (a *fakeAPI) startedPod() []corev1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()

	if a.started == (corev1.ContainerState{}) {
		return nil
	}

	pod := a.pod.DeepCopy()
	pod.ResourceVersion, pod.Status.EphemeralContainerStatuses = "2", nil
	for _, container := range pod.Spec.EphemeralContainers {
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: container.Name, State: a.started})
	}

	return []corev1.Pod{*pod}
}

// serveWatch sends objects and keeps the connection open until the client leaves.
func (a *fakeAPI) serveWatch(w http.ResponseWriter, r *http.Request, objects any) {
	w.Header().Set("Content-Type", "application/json")
	text, _ := json.Marshal(objects)
	var list []json.RawMessage
	_ = json.Unmarshal(text, &list)

	encoder := json.NewEncoder(w)
	for _, object := range list {
		_ = encoder.Encode(map[string]any{"type": "MODIFIED", "object": object})
	}

	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}

	select {
	case <-r.Context().Done():
	case <-time.After(20 * time.Second):
	}
}

// serveExec speaks the protocol v5.channel.k8s.io (k8s.io/client-go, remotecommand),
// in which the first byte of a message is the stream's number.
func (a *fakeAPI) serveExec(w http.ResponseWriter, r *http.Request) {
	upgrader := gorilla.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()

	status := &metav1.Status{Status: "Success"}
	if a.failure != nil {
		status = a.failure
	}

	result, _ := json.Marshal(status)
	for channel, text := range map[byte]string{1: a.formatStdout(r.URL.Query()["command"]), 2: a.stderr} {
		if text != "" {
			_ = conn.WriteMessage(gorilla.BinaryMessage, append([]byte{channel}, text...))
		}
	}

	_ = conn.WriteMessage(gorilla.BinaryMessage, append([]byte{3}, result...))
	_ = conn.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, ""))

	// Closing before the client has answered would cut off what it has not read yet.
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

// formatStdout returns what a command prints: in frames if a relay carries it.
func (a *fakeAPI) formatStdout(command []string) string {
	if !slices.Contains(command, "--relay") || a.failure != nil {
		return a.stdout
	}

	frames := wire.AppendRelayHead([]byte(wire.RelayGreeting), wire.RelayOutput, len(a.stdout))
	return string(wire.AppendRelayHead(append(frames, a.stdout...), wire.RelayExit, 0))
}

// becomeNewUser gives commands in this process an empty home directory.
func becomeNewUser(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("KUBECONFIG", "")
}

// runKdiag runs a command in this process, against the server.
func (a *fakeAPI) runKdiag(args ...string) (code int, stdout, stderr string) {
	line := append([]string{"kubectl-kdiag"}, args...)
	if at := slices.Index(line, "--"); at >= 0 {
		line = slices.Insert(line, at, a.connectionFlags()...)
	} else {
		line = append(line, a.connectionFlags()...)
	}

	var out, errs bytes.Buffer
	code = run(line, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}
