package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// initializingPod is a pod whose container waits for its init containers, which are in the given
// states: first a plain one, then a sidecar, then another plain one.
func initializingPod(states ...corev1.ContainerState) *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	pod := crashingPod(waitingBecause("PodInitializing"))
	pod.Status.Phase, pod.Status.ContainerStatuses[0].RestartCount = corev1.PodPending, 0
	pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{{Name: "first"}, {Name: "proxy", RestartPolicy: &always}, {Name: "last"}}

	for i, state := range states {
		status := corev1.ContainerStatus{Name: pod.Spec.InitContainers[i].Name, State: state}
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, status)
	}
	return pod
}

// TestInitContainersAreWaitedFor tells which init container the others wait for, and whether that
// goes on without anybody's help.
func TestInitContainersAreWaitedFor(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	behind, done := waitingBecause("PodInitializing"), endedWith(0)
	for name, c := range map[string]struct {
		states []corev1.ContainerState
		change func(*corev1.Pod)
		of     string
		starts bool
		want   string
	}{
		"the first runs":          {states: []corev1.ContainerState{running, behind, behind}, starts: true, want: "PodInitializing: init container first is running"},
		"the first is created":    {states: []corev1.ContainerState{waitingBecause("ContainerCreating"), behind, behind}, starts: true, want: "PodInitializing: init container first: it is waiting: ContainerCreating"},
		"the first crashes":       {states: []corev1.ContainerState{waitingBecause("CrashLoopBackOff"), behind, behind}, starts: true, want: "init container first: it is waiting: CrashLoopBackOff"},
		"the first has no image":  {states: []corev1.ContainerState{waitingBecause("ImagePullBackOff"), behind, behind}, want: "init container first: it is waiting: ImagePullBackOff"},
		"the first has failed":    {states: []corev1.ContainerState{endedWith(3), behind, behind}, starts: true, want: "init container first: it exited with code 3"},
		"it fails for good":       {states: []corev1.ContainerState{endedWith(3), behind, behind}, change: func(p *corev1.Pod) { p.Spec.RestartPolicy = "Never" }, want: "code 3"},
		"the sidecar starts":      {states: []corev1.ContainerState{done, running, behind}, starts: true, want: "init container proxy is starting"},
		"the last runs":           {states: []corev1.ContainerState{done, running, running}, change: startSidecar, starts: true, want: "init container last is running"},
		"the sidecar is down":     {states: []corev1.ContainerState{done, waitingBecause("CrashLoopBackOff"), running}, starts: true, want: "init container last is running"},
		"the last is next":        {states: []corev1.ContainerState{done, running, behind}, change: startSidecar, starts: true, want: "init container last: it is waiting: PodInitializing"},
		"all are done":            {states: []corev1.ContainerState{done, running, done}, change: startSidecar, starts: true, want: "it is waiting: PodInitializing"},
		"an init behind another":  {states: []corev1.ContainerState{running, behind, behind}, of: "last", starts: true, want: "init container first is running"},
		"nothing is known of any": {starts: true, want: "it is waiting: PodInitializing"},
	} {
		pod := initializingPod(c.states...)
		if c.change != nil {
			c.change(pod)
		}
		of := c.of
		if of == "" {
			of = "app"
		}
		if got := newNotRunningError(pod, of); got.starts != c.starts || !strings.HasSuffix(got.reason, c.want) {
			t.Errorf("%s: %q, starts %t, want %q, %t", name, got.reason, got.starts, c.want, c.starts)
		}
	}
}

// startSidecar has the sidecar pass its startup probe.
func startSidecar(p *corev1.Pod) {
	started := true
	p.Status.InitContainerStatuses[1].Started = &started
}

// TestAwaitContainerBehindInit waits for a container whose init containers still run, and names in the
// note and in the error the one that it waits for.
func TestAwaitContainerBehindInit(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	behind, done := waitingBecause("PodInitializing"), endedWith(0)
	up := crashingPod(running)
	const previous = "kubectl kdiag logs -n ns web -c first --previous"
	crashed := initializingPod(waitingBecause("CrashLoopBackOff"), behind, behind)
	crashed.Status.InitContainerStatuses[0].RestartCount = 2

	for name, c := range map[string]struct {
		at, then *corev1.Pod
		timeout  time.Duration
		note     string
		want     string
		hint     string
	}{
		"starts":         {at: initializingPod(running, behind, behind), then: up, note: "PodInitializing: init container first is running; waiting for it to start"},
		"does not start": {at: initializingPod(running, behind, behind), timeout: 50 * time.Millisecond, note: "waiting for it to start", want: "did not start within 50ms: the container is not running: it is waiting: PodInitializing: init container first is running", hint: "running containers: first; choose one with -c"},
		"init crashes":   {at: crashed, timeout: 50 * time.Millisecond, note: "(what first logged last: " + previous + ")", want: "init container first: it is waiting: CrashLoopBackOff", hint: previous},
		"stands still":   {at: initializingPod(running, behind, behind), then: initializingPod(done, waitingBecause("ImagePullBackOff")), note: "waiting for it to start", want: "init container proxy: it is waiting: ImagePullBackOff"},
		"late":           {at: initializingPod(running, behind, behind), then: initializingPod(done, running, behind), timeout: 50 * time.Millisecond, note: "first is running", want: "init container proxy is starting", hint: "running containers: proxy; choose one with -c"},
	} {
		cluster := connectTo(t, watchOfPods(c.then))
		timeout := c.timeout
		if timeout == 0 {
			timeout = 20 * time.Second
		}
		ctx, cancel := WithTimeout(t.Context(), timeout)

		var notes []string
		_, err := cluster.AwaitContainer(ctx, c.at, "", func(text string) { notes = append(notes, text) })
		cancel()
		if err == nil != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: AwaitContainer = %v, want %q", name, err, c.want)
		}
		if len(notes) != 1 || !strings.Contains(notes[0], c.note) {
			t.Errorf("%s: notes %q, want %q", name, notes, c.note)
		}
		var failed *Error
		if c.hint != "" && (!errors.As(err, &failed) || !strings.Contains(failed.Next, c.hint)) {
			t.Errorf("%s: hint of %+v, want %q", name, err, c.hint)
		}
	}
}

// watchOfPods serves a watch that tells of a pod as it is at each time, and leaves out nil.
func watchOfPods(pods ...*corev1.Pod) http.HandlerFunc {
	pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return p == nil })
	return func(w http.ResponseWriter, r *http.Request) {
		answerJSON(w, "")
		for _, pod := range pods {
			text, _ := json.Marshal(map[string]any{"type": "MODIFIED", "object": pod})
			_, _ = w.Write(text)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}
