package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestMutation wants changes listed, and only those that matter to make a container unusable.
func TestMutation(t *testing.T) {
	yes, no, root, user, another := true, false, int64(0), int64(1000), int64(1001)
	drop := func(names ...corev1.Capability) func(*corev1.EphemeralContainer) {
		return func(c *corev1.EphemeralContainer) {
			c.SecurityContext.Capabilities.Drop = append(c.SecurityContext.Capabilities.Drop, names...)
		}
	}

	add := func(names ...corev1.Capability) func(*corev1.EphemeralContainer) {
		return func(c *corev1.EphemeralContainer) {
			c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, names...)
		}
	}

	for _, c := range []struct {
		name     string
		profile  Profile
		change   func(*corev1.EphemeralContainer)
		unusable bool
		said     []string
	}{
		{"nothing", ProfileChroot, func(*corev1.EphemeralContainer) {}, false, nil},
		{"a mirror", ProfileChroot, func(c *corev1.EphemeralContainer) { c.Image = "mirror/kdiag" }, false, nil},
		{"defaults", ProfileChroot, func(c *corev1.EphemeralContainer) {
			mount := corev1.DefaultProcMount
			c.SecurityContext.ProcMount, c.TerminationMessagePath = &mount, "/dev/termination-log"
		}, false, nil},
		{"not root", ProfileChroot, func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsNonRoot = &yes }, true, []string{"runAsNonRoot=true"}},
		{"not root, look-only", ProfileRestricted, func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsNonRoot = nil }, false, []string{"no runAsNonRoot"}},
		{"another user", ProfileBaseline, func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsUser = &user }, true, []string{"runAsUser=1000"}},
		{"another user, look-only", ProfileRestricted, func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsUser = &another }, false, []string{"runAsUser=1001"}},
		{"the pod's user", ProfileChroot, func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsUser = nil }, true, []string{"no runAsUser"}},
		{"no security context", ProfileChroot, func(c *corev1.EphemeralContainer) { c.SecurityContext = nil }, true, []string{
			"no runAsNonRoot", "no runAsUser", "no runAsGroup", "no readOnlyRootFilesystem", "capabilities not added: SYS_CHROOT SYS_PTRACE", "seccompProfile=none"}},
		{"dropped by its long name", ProfileChroot, drop("CAP_SYS_PTRACE"), true, []string{"capabilities dropped: CAP_SYS_PTRACE"}},
		{"dropped, not used", ProfileChroot, drop("NET_RAW", "MKNOD"), false, []string{"capabilities dropped: NET_RAW MKNOD"}},
		{"dropped, relied on", ProfileBaseline, drop("SETUID"), true, []string{"capabilities dropped: SETUID"}},
		{"all dropped", ProfileChroot, drop("ALL"), true, []string{"capabilities dropped: ALL"}},
		{"all dropped, look-only", ProfileRestricted, func(*corev1.EphemeralContainer) {}, false, nil},
		{"more added", ProfileChroot, add("SYS_ADMIN"), true, []string{"capabilities added: SYS_ADMIN"}},
		{"a default added", ProfileChroot, add("CHOWN"), false, []string{"capabilities added: CHOWN"}},
		{"privileged", ProfileChroot, func(c *corev1.EphemeralContainer) { c.SecurityContext.Privileged = &yes }, true, []string{"privileged=true"}},
		{"no escalation", ProfileChroot, func(c *corev1.EphemeralContainer) { c.SecurityContext.AllowPrivilegeEscalation = &no }, false, []string{"allowPrivilegeEscalation=false"}},
		{"unmasked", ProfileChroot, func(c *corev1.EphemeralContainer) {
			mount := corev1.UnmaskedProcMount
			c.SecurityContext.ProcMount = &mount
		}, true, []string{"procMount=Unmasked"}},
		{"unconfined", ProfileChroot, func(c *corev1.EphemeralContainer) {
			c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		}, true, []string{"seccompProfile=Unconfined"}},
		{"a token", ProfileChroot, func(c *corev1.EphemeralContainer) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets"}}
		}, false, []string{"volumeMounts: token at /var/run/secrets"}},
		{"another command", ProfileChroot, func(c *corev1.EphemeralContainer) { c.Command = []string{"/sh"} }, true, []string{`command=["/sh"]`}},
		{"other arguments", ProfileChroot, func(c *corev1.EphemeralContainer) { c.Args = nil }, true, []string{`args=[]`}},
		{"another target", ProfileChroot, func(c *corev1.EphemeralContainer) { c.TargetContainerName = "db" }, true, []string{`targetContainerName="db"`}},
	} {
		pod := &corev1.Pod{}
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &user}
		request := ShellRequest{Target: TargetContainer{Pod: pod, Container: "app"}, ManagerContainer: ManagerContainer{Image: "i", Manager: Manager{Role: "shell", User: "me", Target: "app"}}}
		asked := request.containerRequest().newContainer(c.profile)
		got := asked.DeepCopy()
		c.change(got)
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{*got}
		m := findMutation(pod, asked)
		if said := m.listChanges(); m.isUnusable() != c.unusable || !slices.Equal(said, c.said) {
			t.Errorf("%s: changes = %q, unusable = %t, want %q, %t", c.name, said, m.isUnusable(), c.said, c.unusable)
		}
	}

	pod := &corev1.Pod{}
	net := NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: "i", Manager: Manager{User: "me"}}}.containerRequest().newContainer("")
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{*net.DeepCopy()}
	if m := findMutation(pod, net); m.isUnusable() || m.listChanges() != nil {
		t.Errorf("net container: changes = %q, unusable = %t, want none", m.listChanges(), m.isUnusable())
	}

	pod.Spec.EphemeralContainers[0].SecurityContext.RunAsUser = &root
	drop("NET_ADMIN")(&pod.Spec.EphemeralContainers[0])
	if m := findMutation(pod, net); !m.isUnusable() {
		t.Errorf("net container without NET_ADMIN: changes = %q, want it unusable", m.listChanges())
	}

	pod.Spec.EphemeralContainers = nil
	if m := findMutation(pod, net); !m.isUnusable() || len(m.listChanges()) != 1 {
		t.Errorf("no container: changes = %q, unusable = %t, want it unusable", m.listChanges(), m.isUnusable())
	}
}

// TestFindUnusable wants a container found that the cluster changed, whoever owns it, and not used
// again.
func TestFindUnusable(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	mine := Manager{Role: "shell", Target: "app", User: "me", Version: "v1", Profile: ProfileChroot}
	pod := &corev1.Pod{}
	request := ShellRequest{Target: TargetContainer{Pod: pod, Container: "app"}, ManagerContainer: ManagerContainer{Image: "i", Manager: mine}}.containerRequest()
	put := func(m Manager, change func(*corev1.EphemeralContainer)) {
		addEphemeral(pod, m.newContainerName(), "i", m, running)
		change(&pod.Spec.EphemeralContainers[len(pod.Spec.EphemeralContainers)-1])
	}

	whole := func(*corev1.EphemeralContainer) {}
	nonRoot := func(c *corev1.EphemeralContainer) { yes := true; c.SecurityContext.RunAsNonRoot = &yes }
	with := func(change func(*Manager)) Manager { m := mine; change(&m); return m }

	put(with(func(m *Manager) { m.Target, m.User, m.Version = "db", "you", "v0" }), whole)
	put(with(func(m *Manager) { m.Profile = ProfileBaseline }), nonRoot)
	if unusable := request.findUnusable(ProfileChroot); unusable != nil {
		t.Errorf("findUnusable = %v, want nil", unusable)
	}

	put(mine, nonRoot)
	if found := firstOwn(request); found != "" {
		t.Errorf("own containers: %s, which was changed, want none", found)
	}
	if unusable := request.findUnusable(ProfileChroot); unusable == nil || unusable.Container != pod.Spec.EphemeralContainers[2].Name {
		t.Errorf("findUnusable = %v, want the last container", unusable)
	}

	pod.Spec.EphemeralContainers = pod.Spec.EphemeralContainers[:2]
	put(mine, func(c *corev1.EphemeralContainer) { c.Args = append([]string{"/kdiag"}, c.Args...) })
	if unusable := request.findUnusable(ProfileChroot); unusable == nil {
		t.Error("findUnusable with other arguments = nil, want the last container")
	}
}
