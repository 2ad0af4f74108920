package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// addEphemeral adds a container to a pod as kdiag would ask for it to run m, in a given state.
func addEphemeral(pod *corev1.Pod, name, image string, m Manager, state corev1.ContainerState) {
	request := ShellRequest{Target: TargetContainer{Pod: pod, Container: m.Target}, ManagerContainer: ManagerContainer{Image: image, Manager: m}}.containerRequest()
	if m.Role == "net" {
		request = NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: image, Manager: m}}.containerRequest()
	}
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, request.buildContainer(name, m))
	pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
}

// firstOwn returns the name of the container that would be used again without asking the cluster,
// or "".
func firstOwn(request containerRequest, made ...ledgerEntry) string {
	for _, own := range request.ownContainers(made) {
		if !own.otherImage {
			return own.Name
		}
	}
	return ""
}

// TestOwnContainers wants the user's own container for the job that has not ended, by the order of
// profiles.
func TestOwnContainers(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileBaseline}
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	pod := &corev1.Pod{}
	existing := func(p Profile) string {
		return firstOwn(ShellRequest{Target: TargetContainer{Pod: pod, Container: "app"}, ManagerContainer: ManagerContainer{Image: "i", Manager: with(func(m *Manager) { m.Profile = p })}}.containerRequest())
	}
	addEphemeral(pod, "another-user", "i", with(func(m *Manager) { m.User = "you" }), running)
	addEphemeral(pod, "another-target", "i", with(func(m *Manager) { m.Target = "db" }), running)
	addEphemeral(pod, "another-version", "i", with(func(m *Manager) { m.Version = "v0" }), running)
	addEphemeral(pod, "another-image", "j", mine, running)
	addEphemeral(pod, "over", "i", mine, over)
	addEphemeral(pod, "unheard-of", "i", with(func(m *Manager) { m.Profile = "sudo" }), running)
	addEphemeral(pod, "setns", "i", with(func(m *Manager) { m.Profile = ProfileSetns }), running) // for those who ask for it
	if found := existing(ProfileAuto); found != "" {
		t.Errorf("own containers: %s, want none", found)
	}

	addEphemeral(pod, "look-only", "i", with(func(m *Manager) { m.Profile = ProfileRestricted }), running)
	addEphemeral(pod, "chroot", "i", with(func(m *Manager) { m.Profile = ProfileChroot }), corev1.ContainerState{})
	addEphemeral(pod, "baseline", "i", with(func(m *Manager) { m.Profile = ProfileBaseline }), running)
	for profile, want := range map[Profile]string{
		ProfileAuto: "chroot", ProfileChroot: "chroot", ProfileBaseline: "baseline", ProfileRestricted: "look-only", ProfileSetns: "setns",
	} {
		if found := existing(profile); found != want {
			t.Errorf("own container for profile %s = %q, want %q", profile, found, want)
		}
	}
}

func TestOwnContainersNet(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	over := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	mine := Manager{Role: "net", User: "me", Version: "v1"}
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	pod := &corev1.Pod{}
	request := NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: "i", Manager: Manager{User: "me", Version: "v1"}}}
	addEphemeral(pod, "another-user", "i", with(func(m *Manager) { m.User = "you" }), running)
	addEphemeral(pod, "another-version", "i", with(func(m *Manager) { m.Version = "v0" }), running)
	addEphemeral(pod, "another-image", "j", mine, running)
	addEphemeral(pod, "over", "i", mine, over)
	addEphemeral(pod, "shell", "i", with(func(m *Manager) { m.Role, m.Target, m.Profile = "shell", "app", ProfileChroot }), running)
	if found := firstOwn(request.containerRequest()); found != "" {
		t.Errorf("own containers: %s, want none", found)
	}

	addEphemeral(pod, "mine", "i", mine, running)
	addEphemeral(pod, "mine-too", "i", with(func(m *Manager) { m.Reason = "ticket 7" }), running)
	if found := firstOwn(request.containerRequest()); found != "mine" {
		t.Errorf("own container = %q, want mine", found)
	}

	// What somebody did it for is there to be read, and no matter here.
	pod.Spec.EphemeralContainers = slices.DeleteFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == "mine" })
	if found := firstOwn(request.containerRequest()); found != "mine-too" {
		t.Errorf("own container with a reason = %q, want mine-too", found)
	}
}

// TestOwnByLedger wants a container recognized by its entry in the ledger, however admission
// changed it, and no other container by that entry.
func TestOwnByLedger(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileChroot}
	pod := &corev1.Pod{}
	addEphemeral(pod, "made", "mirror/i", mine, running)
	pod.Spec.EphemeralContainers[0].SecurityContext = nil
	pod.Spec.EphemeralContainers[0].Args = nil
	request := func(image string) containerRequest {
		return ShellRequest{Target: TargetContainer{Pod: pod, Container: "app"}, ManagerContainer: ManagerContainer{Image: image, PullPolicy: "IfNotPresent", Manager: mine}}.containerRequest()
	}
	entry := ledgerEntry{Name: "made", Manager: mine, Image: "i", PullPolicy: "IfNotPresent"}

	for _, c := range []struct {
		name   string
		image  string
		change func(*ledgerEntry)
		want   string
	}{
		{"as it was asked for", "i", func(*ledgerEntry) {}, "made"},
		{"another image is asked for", "j", func(*ledgerEntry) {}, ""},
		{"by the image that it has", "mirror/i", func(*ledgerEntry) {}, ""},
		{"another container", "i", func(e *ledgerEntry) { e.Name = "other" }, ""},
		{"another user", "i", func(e *ledgerEntry) { e.Manager.User = "you" }, ""},
		{"another version", "i", func(e *ledgerEntry) { e.Manager.Version = "v0" }, ""},
		{"another target", "i", func(e *ledgerEntry) { e.Manager.Target = "db" }, ""},
		{"it runs in spite of a failure", "i", func(e *ledgerEntry) { e.Failed = "no" }, "made"},
	} {
		changed := entry
		c.change(&changed)

		if got := firstOwn(request(c.image), changed); got != c.want {
			t.Errorf("%s: own container = %q, want %q", c.name, got, c.want)
		}
	}
}

// TestStuckIsReplaced wants a stuck container used again only for the same request, and after one
// that runs.
func TestStuckIsReplaced(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileChroot}
	pod := &corev1.Pod{}
	request := func(change func(*ShellRequest)) containerRequest {
		r := ShellRequest{Target: TargetContainer{Pod: pod, Container: "app"}, ManagerContainer: ManagerContainer{Image: "i", PullPolicy: "Never", Manager: mine}}
		r.Manager.Profile = ProfileAuto
		change(&r)
		return r.containerRequest()
	}

	addEphemeral(pod, "stuck", "i", mine, waiting("ErrImageNeverPull"))
	pod.Spec.EphemeralContainers[0].ImagePullPolicy = "Never"
	same := func(*ShellRequest) {}

	for _, c := range []struct {
		name   string
		change func(*ShellRequest)
		want   string
	}{
		{"the same", same, "stuck"},
		{"another policy", func(r *ShellRequest) { r.PullPolicy = "IfNotPresent" }, ""},
		{"another image", func(r *ShellRequest) { r.Image = "j" }, ""},
		{"another idle time-out", func(r *ShellRequest) { r.Manager.IdleTimeout = 1 }, ""},
	} {
		list := request(c.change).ownContainers(nil)
		if len(list) > 1 || (len(list) == 1) != (c.want != "") {
			t.Errorf("%s: own containers = %+v, want %q", c.name, list, c.want)
		}
		if len(list) == 1 && list[0].stuck != "ErrImageNeverPull" {
			t.Errorf("%s: stuck for %q, want the kubelet's reason", c.name, list[0].stuck)
		}
	}

	// The status still says that it is on its way; the ledger knows better.
	pod.Status.EphemeralContainerStatuses[0].State = waiting("ContainerCreating")
	entry := ledgerEntry{Name: "stuck", Manager: mine, Image: "i", PullPolicy: "Never", Failed: "it is not there"}
	if list := request(same).ownContainers([]ledgerEntry{entry}); len(list) != 1 || list[0].stuck != "it is not there" {
		t.Errorf("own containers = %+v, want one that is stuck", list)
	}
	if list := request(func(r *ShellRequest) { r.PullPolicy = "Always" }).ownContainers([]ledgerEntry{entry}); len(list) != 0 {
		t.Errorf("own containers for another policy = %+v, want none", list)
	}

	baseline := mine
	baseline.Profile = ProfileBaseline
	addEphemeral(pod, "runs", "i", baseline, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	if got := firstOwn(request(same), entry); got != "runs" {
		t.Errorf("own container = %q, want the one that runs", got)
	}
}
