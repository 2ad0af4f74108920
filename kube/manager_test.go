package kube

import (
	"slices"
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

func TestManagerArgsNet(t *testing.T) {
	m := Manager{Role: "net", User: "key", Version: "v1", IdleTimeout: time.Minute}
	container := corev1.EphemeralContainer{}
	container.Args = m.args()
	want := []string{"manager", "--role=net", "--user=key", "--version=v1", "--idle-timeout=1m0s"}
	if !slices.Equal(container.Args, want) {
		t.Errorf("args = %q, want %q", container.Args, want)
	}
	got, ok := managerOf(&container)
	if !ok || got != m {
		t.Errorf("managerOf(args) = %+v, %t, want %+v", got, ok, m)
	}
}

func TestManagerArgs(t *testing.T) {
	m := Manager{Role: "shell", Target: "app", User: "key", Profile: ProfileChroot, Version: "v1", IdleTimeout: time.Minute}
	container := corev1.EphemeralContainer{}
	container.Args = m.args()
	got, ok := managerOf(&container)
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
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileBaseline}
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	pod := &corev1.Pod{}
	existing := func(p Profile) (Injected, bool) {
		return ShellRequest{Target: Target{Pod: pod}, Image: "i", Manager: with(func(m *Manager) { m.Profile = p })}.injection().existing()
	}
	ephemeral(pod, "another-user", "i", with(func(m *Manager) { m.User = "you" }), running)
	ephemeral(pod, "another-target", "i", with(func(m *Manager) { m.Target = "db" }), running)
	ephemeral(pod, "another-version", "i", with(func(m *Manager) { m.Version = "v0" }), running)
	ephemeral(pod, "another-image", "j", mine, running)
	ephemeral(pod, "over", "i", mine, over)
	ephemeral(pod, "unheard-of", "i", with(func(m *Manager) { m.Profile = "sudo" }), running)
	ephemeral(pod, "setns", "i", with(func(m *Manager) { m.Profile = ProfileSetns }), running) // for those who ask for it
	if found, ok := existing(ProfileAuto); ok {
		t.Errorf("existing = %+v, want none", found)
	}
	ephemeral(pod, "look-only", "i", with(func(m *Manager) { m.Profile = ProfileRestricted }), running)
	ephemeral(pod, "chroot", "i", with(func(m *Manager) { m.Profile = ProfileChroot }), corev1.ContainerState{})
	ephemeral(pod, "baseline", "i", with(func(m *Manager) { m.Profile = ProfileBaseline }), running)
	for profile, want := range map[Profile]string{
		ProfileAuto: "chroot", ProfileChroot: "chroot", ProfileBaseline: "baseline", ProfileRestricted: "look-only", ProfileSetns: "setns",
	} {
		found, ok := existing(profile)
		if ok != (want != "") || found.Name != want {
			t.Errorf("existing for profile %s = %+v, %t, want %q", profile, found, ok, want)
		}
	}
}

func TestExistingNet(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	mine := Manager{Role: "net", User: "me", Version: "v1"}
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	pod := &corev1.Pod{}
	request := NetRequest{Pod: pod, Image: "i", Manager: Manager{User: "me", Version: "v1"}}
	ephemeral(pod, "another-user", "i", with(func(m *Manager) { m.User = "you" }), running)
	ephemeral(pod, "another-version", "i", with(func(m *Manager) { m.Version = "v0" }), running)
	ephemeral(pod, "another-image", "j", mine, running)
	ephemeral(pod, "over", "i", mine, over)
	ephemeral(pod, "shell", "i", with(func(m *Manager) { m.Role, m.Target, m.Profile = "shell", "app", ProfileChroot }), running)
	if found, ok := request.injection().existing(); ok {
		t.Errorf("existing = %+v, want none", found)
	}
	ephemeral(pod, "mine", "i", mine, running)
	ephemeral(pod, "mine-too", "i", mine, running)
	if found, ok := request.injection().existing(); !ok || found.Name != "mine" {
		t.Errorf("existing = %+v, %t, want mine", found, ok)
	}
}

// TestNetPatch holds what a net container is made of.
func TestNetPatch(t *testing.T) {
	pod := &corev1.Pod{}
	body, name, err := NetRequest{Pod: pod, Image: "i", Manager: Manager{User: "me", Target: "app"}}.injection().patch("")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(name, "kdiag-net-") || strings.Contains(string(body), "targetContainerName") || strings.Contains(string(body), "--target") {
		t.Errorf("patch %s = %s, want kdiag-net-… without a target", name, body)
	}
}
