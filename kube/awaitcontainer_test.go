package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waitingBecause(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func endedWith(code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
}

// TestIsGoingToStart waits for what the kubelet starts by itself, and for nothing else.
func TestIsGoingToStart(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	never := corev1.ContainerRestartPolicyNever
	onThree := []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
		Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{3}}}}

	for name, c := range map[string]struct {
		state  corev1.ContainerState
		policy corev1.RestartPolicy
		change func(*corev1.Pod)
		want   bool
	}{
		"crash loop":             {state: waitingBecause("CrashLoopBackOff"), want: true},
		"being created":          {state: waitingBecause("ContainerCreating"), want: true},
		"no image":               {state: waitingBecause("ImagePullBackOff")},
		"no secret":              {state: waitingBecause("CreateContainerConfigError")},
		"behind its inits":       {state: waitingBecause("PodInitializing"), want: true},
		"ended, Always":          {state: endedWith(0), policy: "Always", want: true},
		"failed, OnFailure":      {state: endedWith(1), policy: "OnFailure", want: true},
		"succeeded, OnFailure":   {state: endedWith(0), policy: "OnFailure"},
		"failed, Never":          {state: endedWith(1), policy: "Never"},
		"its own Never":          {state: endedWith(1), policy: "Always", change: func(p *corev1.Pod) { p.Spec.Containers[0].RestartPolicy = &never }},
		"a rule for the code":    {state: endedWith(3), policy: "Never", change: func(p *corev1.Pod) { p.Spec.Containers[0].RestartPolicyRules = onThree }, want: true},
		"a rule for another":     {state: endedWith(4), policy: "Never", change: func(p *corev1.Pod) { p.Spec.Containers[0].RestartPolicyRules = onThree }},
		"terminating":            {state: waitingBecause("CrashLoopBackOff"), change: func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }},
		"finished":               {state: endedWith(1), policy: "Always", change: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
		"init, over":             {state: endedWith(0), policy: "Always", change: makeInit(nil)},
		"init, failed":           {state: endedWith(1), policy: "Always", change: makeInit(nil), want: true},
		"sidecar":                {state: endedWith(0), policy: "Never", change: makeInit(&always), want: true},
		"an ephemeral container": {state: endedWith(1), policy: "Always", change: makeEphemeral},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: c.policy, Containers: []corev1.Container{{Name: "app"}}}}
		if c.change != nil {
			c.change(pod)
		}
		if got := isGoingToStart(pod, "app", &corev1.ContainerStatus{Name: "app", State: c.state}); got != c.want {
			t.Errorf("%s: isGoingToStart = %t, want %t", name, got, c.want)
		}
	}
	if isGoingToStart(&corev1.Pod{}, "app", nil) {
		t.Error("isGoingToStart = true for a container of which nothing is known")
	}
}

func makeInit(policy *corev1.ContainerRestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = nil
		p.Spec.InitContainers = []corev1.Container{{Name: "app", RestartPolicy: policy}}
	}
}

func makeEphemeral(p *corev1.Pod) {
	p.Spec.Containers = nil
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "app"}}}
}

// crashingPod is a pod whose container has a state.
func crashingPod(state corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "1", ResourceVersion: "1"},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: state, ContainerID: "containerd://new", RestartCount: 2}}},
	}
}

// watchOf serves a watch that tells of states, one after the other.
func watchOf(states ...corev1.ContainerState) http.HandlerFunc {
	var pods []*corev1.Pod
	for _, state := range states {
		pods = append(pods, crashingPod(state))
	}
	return watchOfPods(pods...)
}

// TestAwaitContainer waits through a crash loop, says so once, and says in time that it goes on.
func TestAwaitContainer(t *testing.T) {
	const previous = "kubectl kdiag logs -n ns web -c app --previous"
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, c := range map[string]struct {
		at      corev1.ContainerState
		then    []corev1.ContainerState
		timeout time.Duration
		notes   int
		want    string
	}{
		"runs":                {at: running},
		"starts again":        {at: endedWith(7), then: []corev1.ContainerState{waitingBecause("CrashLoopBackOff"), running}, notes: 1},
		"does not start":      {at: waitingBecause("CrashLoopBackOff"), timeout: 50 * time.Millisecond, notes: 1, want: "did not start within 50ms: the container is not running: it is waiting: CrashLoopBackOff"},
		"has lost its secret": {at: endedWith(7), then: []corev1.ContainerState{waitingBecause("CreateContainerConfigError")}, notes: 1, want: "it is waiting: CreateContainerConfigError"},
		"cannot start":        {at: waitingBecause("ErrImagePull"), want: "it is waiting: ErrImagePull"},
	} {
		cluster := connectTo(t, watchOf(c.then...))
		timeout := c.timeout
		if timeout == 0 {
			timeout = 20 * time.Second
		}
		ctx, cancel := WithTimeout(t.Context(), timeout)

		var notes []string
		target, err := cluster.AwaitContainer(ctx, crashingPod(c.at), "", func(text string) { notes = append(notes, text) })
		cancel()
		switch {
		case c.want == "" && (err != nil || target.ID != "new"):
			t.Errorf("%s: AwaitContainer = %+v, %v, want the running one", name, target, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: AwaitContainer = %v, want %q", name, err, c.want)
		case len(notes) != c.notes || c.notes > 0 && !strings.Contains(notes[0], "waiting for its next start (what it logged last: "+previous+")"):
			t.Errorf("%s: notes %q, want %d", name, notes, c.notes)
		}

		var failed *Error
		if c.timeout != 0 && (!errors.As(err, &failed) || !strings.Contains(failed.Next, previous)) {
			t.Errorf("%s: no hint in %+v, want %q", name, err, previous)
		}
	}
}

// TestTargetChanged learns late that a target was started anew.
func TestTargetChanged(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, c := range map[string]struct {
		now   corev1.ContainerState
		then  []corev1.ContainerState
		found string
		want  bool
	}{
		"started anew":        {now: running, found: "old", want: true},
		"about to be started": {now: waitingBecause("CrashLoopBackOff"), found: "new", want: true},
		"news that come late": {now: running, then: []corev1.ContainerState{running, endedWith(1)}, found: "new", want: true},
		"the same":            {now: running, found: "new"},
	} {
		routes := http.NewServeMux()
		routes.HandleFunc("GET /api/v1/namespaces/ns/pods/web", func(w http.ResponseWriter, _ *http.Request) {
			text, _ := json.Marshal(crashingPod(c.now))
			answerJSON(w, string(text))
		})
		routes.HandleFunc("GET /api/v1/namespaces/ns/pods", watchOf(c.then...))
		cluster := connectTo(t, routes)

		wait := 20 * time.Second
		if !c.want {
			wait = 100 * time.Millisecond
		}
		target := TargetContainer{Pod: crashingPod(running), Container: "app", ID: c.found}
		if got := cluster.TargetChanged(t.Context(), target, wait); got != c.want {
			t.Errorf("%s: TargetChanged = %t, want %t", name, got, c.want)
		}
	}
}

// TestPickEphemeral takes an ephemeral container of somebody else's by the container that it is
// beside, and says why it cannot take one that is beside none.
func TestPickEphemeral(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	manager := Manager{Role: "shell", User: "me", Version: "v1"}
	pod := crashingPod(running)
	for _, c := range []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "beside"}, TargetContainerName: "app"},
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "apart"}},
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "own", Args: manager.arguments()}, TargetContainerName: "app"},
	} {
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, c)
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: running, ContainerID: "containerd://" + c.Name})
	}

	got, err := PickContainer(pod, "beside")
	if err != nil || got.ID != "beside" || !got.SharesPIDs() || got.Neighbour().Container != "app" || got.Neighbour().SharesPIDs() {
		t.Errorf("PickContainer(beside) = %+v, %v, want it, seen from beside app", got, err)
	}
	for name, want := range map[string]string{"apart": "no other container join", "own": "one of kdiag's own", "none": "no such container"} {
		if _, err := PickContainer(pod, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("PickContainer(%s) = %v, want %q", name, err, want)
		}
	}

	shared := true
	pod.Spec.ShareProcessNamespace = &shared
	if got, err := PickContainer(pod, "apart"); err != nil || got.Neighbour().Container != "app" {
		t.Errorf("PickContainer(apart) with shared PIDs = %+v, %v, want it, seen from beside app", got, err)
	}
	if err := CheckHasContainer(pod, "apart"); err != nil {
		t.Errorf("CheckHasContainer(apart) = %v", err)
	}
}

// TestRefusedByRuntime tells a command that was not started from one that may have run.
func TestRefusedByRuntime(t *testing.T) {
	const prefix = "Internal error occurred: error executing command in container: "
	for said, want := range map[string]bool{
		prefix + "failed to exec in container: failed to load task: no running task found: task 75 not found: not found":                   true,
		prefix + "failed to exec in container: failed to start exec \"4213\": OCI runtime exec failed: cannot exec in a stopped container": true,
		prefix + "container is not created or running":    true,
		prefix + "timeout 1m0s exceeded":                  false,
		"failed to load task":                             false,
		"websocket: close 1006 (abnormal closure)":        false,
		prefix + "ttrpc: closed: failed to read the exit": false,
	} {
		if got := isRefusedByRuntime(errors.New(said)); got != want {
			t.Errorf("isRefusedByRuntime(%q) = %t, want %t", said, got, want)
		}
	}
}
