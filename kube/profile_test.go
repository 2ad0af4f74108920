package kube

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestAutoTakesTheLeast wants auto to ask for the least that does the job, and never for what
// is as good as root on the node.
func TestAutoTakesTheLeast(t *testing.T) {
	want := []Profile{ProfileChroot, ProfileBaseline, ProfileRestricted}
	if got := candidateProfiles(ProfileAuto); !slices.Equal(got, want) {
		t.Errorf("auto tries %v, want %v", got, want)
	}
	if got := candidateProfiles(ProfileSetns); !slices.Equal(got, []Profile{ProfileSetns}) {
		t.Errorf("setns tries %v, want itself", got)
	}
}

// TestIdleTimeoutByProfile wants containers with added capabilities to end soon, and a given
// timeout to count for every profile.
func TestIdleTimeoutByProfile(t *testing.T) {
	for profile, want := range map[Profile]time.Duration{
		ProfileSetns: time.Minute, ProfileChroot: time.Minute,
		ProfileBaseline: 10 * time.Minute, ProfileRestricted: 10 * time.Minute, "": 10 * time.Minute,
	} {
		if got := (containerRequest{}).managerFor(profile).IdleTimeout; got != want {
			t.Errorf("profile %q stays %s, want %s", profile, got, want)
		}
		asked := containerRequest{manager: Manager{IdleTimeout: time.Hour}}
		if got := asked.managerFor(profile).IdleTimeout; got != time.Hour {
			t.Errorf("profile %q, asked for an hour, stays %s", profile, got)
		}
	}
}

// TestSecurityContext pins what each profile may ask for: more would be a capability too many in
// somebody's production.
func TestSecurityContext(t *testing.T) {
	target := TargetContainer{Pod: &corev1.Pod{}, Container: "app"}
	want := map[Profile][]corev1.Capability{
		ProfileSetns:      {"SYS_CHROOT", "SYS_ADMIN", "SYS_PTRACE"},
		ProfileChroot:     {"SYS_CHROOT", "SYS_PTRACE"},
		ProfileBaseline:   {"SYS_CHROOT"},
		ProfileRestricted: nil,
	}

	for _, p := range allProfiles {
		sc := shellSecurityContext(p, target)
		if !slices.Equal(sc.Capabilities.Add, want[p]) {
			t.Errorf("%s adds %v, want %v", p, sc.Capabilities.Add, want[p])
		}
		if sc.Privileged != nil || !*sc.ReadOnlyRootFilesystem {
			t.Errorf("%s: %+v, want unprivileged, a read-only root", p, sc)
		}
		if sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: seccomp profile %+v, want the runtime's", p, sc.SeccompProfile)
		}
		if root := *sc.RunAsUser == 0; root != (p != ProfileRestricted) {
			t.Errorf("%s runs as uid %d", p, *sc.RunAsUser)
		}
	}

	drop := shellSecurityContext(ProfileRestricted, target)
	if !slices.Equal(drop.Capabilities.Drop, []corev1.Capability{"ALL"}) || *drop.AllowPrivilegeEscalation || !*drop.RunAsNonRoot {
		t.Errorf("restricted: %+v, want no privileges at all", drop)
	}
}

// TestConfinedAsTheTarget wants the target's own AppArmor profile and SELinux options copied.
func TestConfinedAsTheTarget(t *testing.T) {
	localhost := "strict"
	own := &corev1.SecurityContext{
		AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &localhost},
		SELinuxOptions:  &corev1.SELinuxOptions{Level: "s0:c1,c2"},
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", SecurityContext: own}, {Name: "plain"}}}}
	for _, p := range allProfiles {
		sc := shellSecurityContext(p, TargetContainer{Pod: pod, Container: "app"})
		if sc.AppArmorProfile != own.AppArmorProfile || sc.SELinuxOptions != own.SELinuxOptions {
			t.Errorf("%s beside app: AppArmor %v, SELinux %v, want app's", p, sc.AppArmorProfile, sc.SELinuxOptions)
		}
		sc = shellSecurityContext(p, TargetContainer{Pod: pod, Container: "plain"})
		if sc.AppArmorProfile != nil || sc.SELinuxOptions != nil {
			t.Errorf("%s beside plain: AppArmor %v, SELinux %v, want the pod's", p, sc.AppArmorProfile, sc.SELinuxOptions)
		}
	}
}

func TestNetSecurityContext(t *testing.T) {
	sc := netSecurityContext()
	if !slices.Equal(sc.Capabilities.Drop, []corev1.Capability{"ALL"}) || !slices.Equal(sc.Capabilities.Add, []corev1.Capability{"NET_ADMIN"}) {
		t.Errorf("net: capabilities %+v, want NET_ADMIN of all", sc.Capabilities)
	}
	if *sc.RunAsUser != 0 || *sc.RunAsGroup != 0 || *sc.RunAsNonRoot || *sc.AllowPrivilegeEscalation || sc.Privileged != nil ||
		!*sc.ReadOnlyRootFilesystem || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("net: %+v, want root, confined", sc)
	}
}

func TestFindTargetUser(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	pod := func(podUser, ownUser *int64, reported *corev1.LinuxContainerUser) TargetContainer {
		p := &corev1.Pod{}
		p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: podUser}
		p.Spec.Containers = []corev1.Container{{Name: "app", SecurityContext: &corev1.SecurityContext{RunAsUser: ownUser}}}
		if reported != nil {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", User: &corev1.ContainerUser{Linux: reported}}}
		}
		return TargetContainer{Pod: p, Container: "app"}
	}

	for _, c := range []struct {
		name   string
		target TargetContainer
		want   int64
	}{
		{"the runtime's report wins", pod(id(1), id(2), &corev1.LinuxContainerUser{UID: 3, GID: 3}), 3},
		{"the container before the pod", pod(id(1), id(2), nil), 2},
		{"the pod", pod(id(1), nil, nil), 1},
		{"nobody says", pod(nil, nil, nil), unknownUser},
		{"root is no choice", pod(id(0), nil, nil), unknownUser},
		{"root is no choice when the runtime reports it", pod(nil, nil, &corev1.LinuxContainerUser{}), unknownUser},
	} {
		if got, _ := findTargetUser(c.target); *got != c.want {
			t.Errorf("%s: uid %d, want %d", c.name, *got, c.want)
		}
	}
}
