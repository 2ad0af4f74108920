package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ephemeral is a container that m runs in, in the state that its pod reports.
func ephemeral(pod *corev1.Pod, name, image string, m Manager, state corev1.ContainerState) {
	container := corev1.EphemeralContainer{}
	container.Name, container.Image, container.Args = name, image, m.args()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, container)
	pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
}

func TestManagerArgs(t *testing.T) {
	m := Manager{Role: "shell", Target: "app", User: "key", Profile: ProfileChroot, Version: "v1", IdleTimeout: time.Minute}
	container := corev1.EphemeralContainer{}
	container.Args = m.args()
	got, ok := managerOf(&container)
	m.IdleTimeout = 0 // nobody asks a container for it
	if !ok || got != m {
		t.Errorf("managerOf(args) = %+v, %t, want %+v", got, ok, m)
	}
	for _, args := range [][]string{nil, {"sh"}, {"manager"}, {"manager", "--target=app"}} {
		container.Args = args
		if got, ok := managerOf(&container); ok {
			t.Errorf("managerOf(%q) = %+v, want none", args, got)
		}
	}
}

func TestManagerName(t *testing.T) {
	for _, target := range []string{"", "app", strings.Repeat("a", 63), strings.Repeat("a", 49) + "-b"} {
		name := Manager{Role: "shell", Target: target}.newName()
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			t.Errorf("name for target %q = %q: %v", target, name, problems)
		}
	}
}

func TestExisting(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileSetns}
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	pod := &corev1.Pod{}
	ephemeral(pod, "another-user", "i", with(func(m *Manager) { m.User = "you" }), running)
	ephemeral(pod, "another-target", "i", with(func(m *Manager) { m.Target = "db" }), running)
	ephemeral(pod, "another-version", "i", with(func(m *Manager) { m.Version = "v0" }), running)
	ephemeral(pod, "another-image", "j", mine, running)
	ephemeral(pod, "over", "i", mine, over)
	ephemeral(pod, "unheard-of", "i", with(func(m *Manager) { m.Profile = "sudo" }), running)
	if found, ok := (ShellRequest{Image: "i", Manager: with(func(m *Manager) { m.Profile = ProfileAuto })}).existing(pod); ok {
		t.Errorf("existing = %+v, want none", found)
	}
	ephemeral(pod, "look-only", "i", with(func(m *Manager) { m.Profile = ProfileRestricted }), running)
	ephemeral(pod, "chroot", "i", with(func(m *Manager) { m.Profile = ProfileChroot }), corev1.ContainerState{})
	ephemeral(pod, "baseline", "i", with(func(m *Manager) { m.Profile = ProfileBaseline }), running)
	for profile, want := range map[Profile]string{
		ProfileAuto: "chroot", ProfileChroot: "chroot", ProfileBaseline: "baseline", ProfileRestricted: "look-only", ProfileSetns: "",
	} {
		found, ok := ShellRequest{Image: "i", Manager: with(func(m *Manager) { m.Profile = profile })}.existing(pod)
		if ok != (want != "") || found.Name != want {
			t.Errorf("existing for profile %s = %+v, %t, want %q", profile, found, ok, want)
		}
	}
}
