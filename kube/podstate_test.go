package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCheckTakesContainers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   string
	}{
		{"plain", func(*corev1.Pod) {}, ""},
		{"Linux", func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Linux} }, ""},
		{"static", func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "1"} }, "static pods do not support"},
		{"from a file, once", func(p *corev1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.source": "file"} }, ""},
		{"Windows", func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "kdiag does not support Windows pods"},
		{"Windows by its node", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }, "kdiag does not support Windows pods"},
	} {
		pod := &corev1.Pod{}
		c.change(pod)
		err := CheckTakesContainers(pod)

		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestCheckUp(t *testing.T) {
	running := corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	waiting := corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}}
	over := corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}
	setup := corev1.ContainerStatus{Name: "setup", State: running.State}

	for _, c := range []struct {
		name   string
		status corev1.PodStatus
		going  bool
		want   string
	}{
		{"running", corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{running}}, false, ""},
		{"crashing", corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{waiting}}, false, ""},
		{"initializing", corev1.PodStatus{Phase: corev1.PodPending, InitContainerStatuses: []corev1.ContainerStatus{setup}}, false, ""},
		{"going", corev1.PodStatus{Phase: corev1.PodRunning}, true, "no container can be added to a pod that is terminating"},
		{"not scheduled", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable"}}}, false, "not scheduled: Unschedulable"},
		{"waiting", corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{waiting}}, false, "container app: it is waiting: ErrImagePull"},
		{"unheard of", corev1.PodStatus{Phase: corev1.PodPending}, false, "the pod is Pending"},
		{"failed", corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{over}}, false, "container app: it exited with code 3"},
		{"evicted while it ran", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory. ", ContainerStatuses: []corev1.ContainerStatus{over}}, false,
			"container app: it exited with code 3; the pod has failed: Evicted: low on memory."},
		{"evicted", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}, false, "Failed: Evicted: low on memory"},
	} {
		pod := &corev1.Pod{Status: c.status}
		pod.Spec.Containers, pod.Spec.InitContainers = []corev1.Container{{Name: "app"}}, []corev1.Container{{Name: "setup"}}
		if c.going {
			pod.DeletionTimestamp = &metav1.Time{}
		}
		err := checkUp(pod)

		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
