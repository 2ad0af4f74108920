package containers_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// stoppedCluster has a pod whose container does not run.
type stoppedCluster struct {
	*fakecluster.Fake
	stopped kube.StoppedContainer
	asked   int
}

func (c *stoppedCluster) DescribeStopped(_ context.Context, pod *corev1.Pod, name string) (kube.StoppedContainer, bool) {
	c.asked++
	c.stopped.TargetContainer = kube.TargetContainer{Pod: pod, Container: name}
	return c.stopped, true
}

func (c *stoppedCluster) AwaitContainer(_ context.Context, pod *corev1.Pod, name string, waiting func(string)) (kube.TargetContainer, error) {
	waiting("waiting")
	pod = pod.DeepCopy()
	pod.Status.ContainerStatuses = nil
	return kube.PickContainer(pod, name)
}

// TestStoppedTarget says what is known before it waits, and offers a copy of the pod where the command
// can make one.
func TestStoppedTarget(t *testing.T) {
	const copied = "kubectl kdiag shell -n default web -c app --copy"
	for name, c := range map[string]struct {
		hasCopy, restarts bool
		logErr            error
		want              []string
	}{
		"crash loop": {true, true, nil, []string{"container app of pod default/web does not run: it ended", "it logged: one", "it logged: two",
			"to look around while it does not run: " + copied, "waiting"}},
		"ended":        {true, false, nil, []string{"container app of pod default/web does not run: it ended", "it logged: one", "it logged: two", "waiting"}},
		"without copy": {false, true, nil, []string{"container app of pod default/web does not run: it ended", "it logged: one", "it logged: two", "waiting"}},
		"without log": {false, false, errors.New("no"), []string{"container app of pod default/web does not run: it ended", "its last words can't be shown: no",
			"it logged: one", "it logged: two", "waiting"}},
	} {
		fakecluster.KeepHome(t)
		cluster := &stoppedCluster{Fake: &fakecluster.Fake{}, stopped: kube.StoppedContainer{
			Facts: "it ended", LastWords: []string{"one", "two"}, LogErr: c.logErr, Restarts: c.restarts}}
		var notes []string
		note := func(text string) { notes = append(notes, text) }
		request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute, HasCopy: c.hasCopy}
		shell := containers.NewShell(cluster, request, containers.Messages{Note: note, Notice: note})
		_, err := shell.Ensure(t.Context())
		if !slices.Equal(notes, c.want) {
			t.Errorf("%s: notes %q, want %q", name, notes, c.want)
		}

		hints := strings.Join(applets.Hints(err), "; ")
		if err == nil || strings.Contains(hints, copied) != c.hasCopy {
			t.Errorf("%s: %v, hints %q, want one for a copy: %t", name, err, hints, c.hasCopy)
		}

		_, _ = shell.Ensure(t.Context())
		if cluster.asked != 1 {
			t.Errorf("%s: told %d times, want once", name, cluster.asked)
		}
	}
}
