package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParseSelection(t *testing.T) {
	good := map[[2]string]Selection{
		{"web", ""}:                    {Kind: "pods", Name: "web"},
		{"po/web", ""}:                 {Kind: "pods", Name: "web"},
		{"deploy/web", ""}:             {Kind: "deployments", Name: "web"},
		{"deployment.apps/web", ""}:    {Kind: "deployments", Name: "web"},
		{"Deployment.v1.apps/web", ""}: {Kind: "deployments", Name: "web"},
		{"sts/x", ""}:                  {Kind: "statefulsets", Name: "x"},
		{"ds/x", ""}:                   {Kind: "daemonsets", Name: "x"},
		{"rs/x", ""}:                   {Kind: "replicasets", Name: "x"},
		{"job/x", ""}:                  {Kind: "jobs", Name: "x"},
		{"cj/x", ""}:                   {Kind: "cronjobs", Name: "x"},
		{"svc/x", ""}:                  {Kind: "services", Name: "x"},
		{"", "app=web,tier!=db"}:       {Kind: "pods", Labels: "app=web,tier!=db"},
	}

	for in, want := range good {
		if got, err := ParseSelection(in[0], in[1]); err != nil || got != want {
			t.Errorf("ParseSelection(%q, %q) = %+v, %v, want %+v", in[0], in[1], got, err, want)
		}
	}

	for _, in := range [][2]string{{"", ""}, {"web", "app=web"}, {"node/x", ""}, {"deploy/", ""}, {"deploy/a/b", ""}, {"", "a in"}} {
		if got, err := ParseSelection(in[0], in[1]); err == nil {
			t.Errorf("ParseSelection(%q, %q) = %+v, want an error", in[0], in[1], got)
		}
	}

	// Types that kdiag does not know: a way that works with them, too.
	for _, target := range []string{"rollout/web", "rollouts.argoproj.io/web", "rc/web", "dc/web"} {
		if _, err := ParseSelection(target, ""); err == nil || !strings.Contains(err.Error(), "for pods of any other type use -l SELECTOR") {
			t.Errorf("ParseSelection(%q) = %v, want a word on -l", target, err)
		}
	}
}

// newCandidate makes a pod with what bestPod looks at.
func newCandidate(name string, phase corev1.PodPhase, ready bool, age time.Duration, deleted bool) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age))}}
	pod.Status.Phase = phase
	if ready {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	if deleted {
		pod.DeletionTimestamp = &metav1.Time{}
	}
	return pod
}

func TestBestPod(t *testing.T) {
	var (
		going   = newCandidate("going", corev1.PodRunning, true, 0, true)
		ready   = newCandidate("ready", corev1.PodRunning, true, time.Hour, false)
		newer   = newCandidate("newer", corev1.PodRunning, true, time.Minute, false)
		twin    = newCandidate("a-twin", corev1.PodRunning, true, time.Minute, false)
		unready = newCandidate("unready", corev1.PodRunning, false, time.Second, false)
		pending = newCandidate("pending", corev1.PodPending, false, 0, false)
		done    = newCandidate("done", corev1.PodSucceeded, false, 0, false)
	)

	for _, c := range []struct {
		of   []corev1.Pod
		want string
	}{
		{nil, ""},
		{[]corev1.Pod{going}, "going"},
		{[]corev1.Pod{going, pending}, "pending"},
		{[]corev1.Pod{done, pending, unready, ready, newer, going}, "newer"},
		{[]corev1.Pod{newer, twin}, "a-twin"},
		{[]corev1.Pod{done, pending, unready}, "unready"},
		{[]corev1.Pod{done, pending}, "pending"},
		{[]corev1.Pod{done, going}, "going"},
	} {
		got := ""
		if best := bestPod(c.of); best != nil {
			got = best.Name
		}
		if got != c.want {
			t.Errorf("bestPod of %d pods = %q, want %q", len(c.of), got, c.want)
		}
	}
}

// TestCountCandidates counts what a user would count as replicas.
func TestCountCandidates(t *testing.T) {
	pods := []corev1.Pod{
		newCandidate("going", corev1.PodRunning, true, 0, true), newCandidate("ready", corev1.PodRunning, true, 0, false),
		newCandidate("unready", corev1.PodRunning, false, 0, false), newCandidate("pending", corev1.PodPending, false, 0, false),
		newCandidate("done", corev1.PodSucceeded, false, 0, false), newCandidate("evicted", corev1.PodFailed, false, 0, false),
	}
	if got := countCandidates(pods); got != 3 {
		t.Errorf("countCandidates = %d, want 3", got)
	}
}
