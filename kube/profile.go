package kube

import (
	corev1 "k8s.io/api/core/v1"
)

// Profile is a rung of the ladder that a shell container climbs into its
// target by: each asks the cluster for less than the one before it.
type Profile string

const (
	// ProfileAuto is the best one that the cluster admits.
	ProfileAuto Profile = "auto"
	// ProfileSetns joins the target's namespaces: SYS_ADMIN, SYS_PTRACE and
	// SYS_CHROOT. Pod Security level "privileged".
	ProfileSetns Profile = "setns"
	// ProfileChroot changes root to /proc/PID/root of any target: SYS_PTRACE
	// and SYS_CHROOT. Pod Security level "privileged".
	ProfileChroot Profile = "chroot"
	// ProfileBaseline changes root with what a runtime grants by default. Pod
	// Security level "baseline".
	ProfileBaseline Profile = "baseline"
	// ProfileRestricted stays outside, as the target's user, and looks at
	// /proc/PID/root. Pod Security level "restricted".
	ProfileRestricted Profile = "restricted"
)

// ladder is every profile, the best first.
var ladder = []Profile{ProfileSetns, ProfileChroot, ProfileBaseline, ProfileRestricted}

// Profiles are the names of all profiles, "auto" first.
func Profiles() []string {
	return append([]string{string(ProfileAuto)}, profileNames(ladder)...)
}

func profileNames(list []Profile) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = string(p)
	}
	return names
}

// Means says in a few words what a shell of this profile can do.
func (p Profile) Means() string {
	switch p {
	case ProfileSetns:
		return "in the target's namespaces"
	case ProfileChroot:
		return "chroot into the target"
	case ProfileBaseline:
		return "chroot into the target, without SYS_ADMIN and SYS_PTRACE"
	case ProfileRestricted:
		return "look-only: beside the target, whose files are under /proc/PID/root"
	}
	return string(p)
}

// first are the profiles to try for a wish, the best first.
func (p Profile) first() []Profile {
	if p == ProfileAuto {
		return ladder
	}
	return []Profile{p}
}

// unknownUser is who a look-only shell runs as when nothing tells who the
// target runs as: "nonroot" of the distroless images, the commonest one.
const unknownUser = int64(65532)

// noCapabilities drops what a runtime grants by default.
var noCapabilities = []corev1.Capability{"ALL"}

// confined is what every container of kdiag's asks for.
func confined() *corev1.SecurityContext {
	yes := true
	return &corev1.SecurityContext{
		ReadOnlyRootFilesystem: &yes,
		SeccompProfile:         &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// asRoot has a container run as root. The group too: a pod's runAsGroup would
// otherwise hold for it.
func asRoot(sc *corev1.SecurityContext) {
	no, root := false, int64(0)
	sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot = &root, &root, &no
}

// netSecurityContext is what a net container asks for: root, without whom the
// runtime makes NET_ADMIN effective for no one, and nothing else of root's.
func netSecurityContext() *corev1.SecurityContext {
	no := false
	sc := confined()
	asRoot(sc)
	sc.AllowPrivilegeEscalation = &no
	sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities, Add: []corev1.Capability{"NET_ADMIN"}}
	return sc
}

// securityContext is what a shell container of profile p asks for.
func (p Profile) securityContext(t Target) *corev1.SecurityContext {
	sc := confined()
	if p == ProfileRestricted {
		yes, no := true, false
		sc.RunAsUser, sc.RunAsGroup = targetUser(t)
		sc.RunAsNonRoot = &yes
		sc.AllowPrivilegeEscalation = &no
		sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities}
		return sc
	}
	asRoot(sc)
	add := []corev1.Capability{"SYS_CHROOT"}
	switch p {
	case ProfileSetns:
		add = append(add, "SYS_ADMIN", "SYS_PTRACE")
		// To SYS_ADMIN the runtime's profile forbids little, and it is compiled
		// twice before there is a shell, 20 ms each: the manager and the launcher
		// bring a filter of their own (applets/internal/confine).
		sc.SeccompProfile = nil
	case ProfileChroot:
		add = append(add, "SYS_PTRACE")
	}
	sc.Capabilities = &corev1.Capabilities{Add: add}
	return sc
}

// targetUser is the uid and gid the target's processes have, as far as the API
// tells: the runtime's own report (Kubernetes 1.31, KEP-3619), else the spec.
// The gid is nil where the image decides, which then gives 0 for our image.
func targetUser(t Target) (uid, gid *int64) {
	if status := statusOf(t.Pod, t.Container); status != nil && status.User != nil && status.User.Linux != nil {
		return &status.User.Linux.UID, &status.User.Linux.GID
	}
	if pod := t.Pod.Spec.SecurityContext; pod != nil {
		uid, gid = pod.RunAsUser, pod.RunAsGroup
	}
	if own := securityContextOf(t.Pod, t.Container); own != nil {
		if own.RunAsUser != nil {
			uid = own.RunAsUser
		}
		if own.RunAsGroup != nil {
			gid = own.RunAsGroup
		}
	}
	if uid == nil || *uid == 0 {
		user := unknownUser
		return &user, &user
	}
	return uid, gid
}

func securityContextOf(pod *corev1.Pod, container string) *corev1.SecurityContext {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == container {
				return list[i].SecurityContext
			}
		}
	}
	return nil
}
