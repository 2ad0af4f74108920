package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestParseKernel(t *testing.T) {
	for release, want := range map[string]Kernel{
		"5.15.0-91-generic": {5, 15}, "6.18.44+": {6, 18}, "5.3": {5, 3}, "5.3-rc1": {5, 3}, "10.0.0": {10, 0},
	} {
		if got, err := ParseKernel(release); err != nil || got != want {
			t.Errorf("ParseKernel(%q) = %v, %v, want %v", release, got, err, want)
		}
	}

	for _, release := range []string{"", "5", "five.three", "5.", ".3", "99999999999999999999.1"} {
		if got, err := ParseKernel(release); err == nil {
			t.Errorf("ParseKernel(%q) = %v, want an error", release, got)
		}
	}
}

func TestKernelHas(t *testing.T) {
	for kernel, want := range map[Kernel][2]bool{
		{4, 19}: {false, false}, {5, 2}: {false, false}, {5, 3}: {true, false}, {5, 11}: {true, false}, {5, 12}: {true, true}, {6, 0}: {true, true},
	} {
		if got := [2]bool{kernel.RunsShells(), kernel.OwnsTables()}; got != want {
			t.Errorf("%v: runs shells, owns tables = %v, want %v", kernel, got, want)
		}
	}
}

func FuzzParseKernel(f *testing.F) {
	f.Add("5.15.0-91-generic")
	f.Fuzz(func(t *testing.T, release string) {
		if got, err := ParseKernel(release); err != nil && got != (Kernel{}) || got.Major < 0 || got.Minor < 0 {
			t.Errorf("ParseKernel(%q) = %v, %v", release, got, err)
		}
	})
}

func TestExpandImageName(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                      "docker.io/library/nginx:latest",
		"me/nginx:1":                 "docker.io/me/nginx:1",
		"localhost/kdiag:dev":        "localhost/kdiag:dev",
		"localhost:5000/kdiag":       "localhost:5000/kdiag:latest",
		"registry.example.com/a/b":   "registry.example.com/a/b:latest",
		"registry.example.com/a@sha": "registry.example.com/a@sha",
	} {
		if got := expandImageName(image); got != want {
			t.Errorf("expandImageName(%q) = %q, want %q", image, got, want)
		}
	}

	node := &corev1.Node{Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{Names: []string{"docker.io/library/a:1"}}}}}
	if !HasImage(node, "a:1") || HasImage(node, "a:2") {
		t.Errorf("HasImage(a:1), (a:2) = %v, %v, want true, false", HasImage(node, "a:1"), HasImage(node, "a:2"))
	}
}

func TestFindPulledImage(t *testing.T) {
	pod := &corev1.Pod{}
	add := func(name, image string, state corev1.ContainerState) {
		c := corev1.EphemeralContainer{}
		c.Name, c.Image = name, image
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, c)
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
	}

	add("ran", "kdiag:1", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})
	add("stuck", "kdiag:2", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}})
	add("starts", "kdiag:3", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}})
	for image, want := range map[string][2]string{
		"kdiag:1": {"ran", ""}, "kdiag:2": {"", "container stuck is waiting: ErrImagePull: no such image"}, "kdiag:3": {"", ""}, "kdiag:4": {"", ""},
	} {
		container, err := FindPulledImage(pod, image)
		got := [2]string{container, ""}
		if err != nil {
			got[1] = err.Error()
		}
		if got != want {
			t.Errorf("FindPulledImage(%s) = %q, want %q", image, got, want)
		}
	}
}
