package kube

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Profile is how a shell container joins its target, and what it asks the
// cluster for.
type Profile string

const (
	// ProfileAuto is the first of ladder that the cluster admits.
	ProfileAuto Profile = "auto"
	// ProfileChroot changes root to /proc/PID/root of any target: SYS_PTRACE
	// and SYS_CHROOT. Pod Security level "privileged".
	ProfileChroot Profile = "chroot"
	// ProfileBaseline changes root with what a runtime grants by default. Pod
	// Security level "baseline".
	ProfileBaseline Profile = "baseline"
	// ProfileRestricted stays outside, as the target's user, and looks at
	// /proc/PID/root. Pod Security level "restricted".
	ProfileRestricted Profile = "restricted"
	// ProfileSetns joins the target's namespaces: SYS_ADMIN, SYS_PTRACE and
	// SYS_CHROOT. Pod Security level "privileged". It is for those who ask for
	// it by name: SYS_ADMIN is as good as root on the node.
	ProfileSetns Profile = "setns"
)

// FirstChoice is the least profile that does all of a shell's job: with less,
// the processes of other users do not open.
const FirstChoice = ProfileChroot

// autoProfiles is what ProfileAuto tries, in turn: each asks the cluster for less
// than the one before it.
var autoProfiles = []Profile{FirstChoice, ProfileBaseline, ProfileRestricted}

// allProfiles is ladder, and what auto never takes.
var allProfiles = append(slices.Clone(autoProfiles), ProfileSetns)

// Profiles lists the names of all profiles, "auto" first.
func Profiles() []string {
	return append([]string{string(ProfileAuto)}, profileNames(allProfiles)...)
}

func profileNames(list []Profile) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = string(p)
	}
	return names
}

// Describe says in a few words what a shell of this profile can do.
func (p Profile) Describe() string {
	switch p {
	case ProfileSetns:
		return "in the target's namespaces"
	case ProfileChroot:
		return "chroot into the target"
	case ProfileBaseline:
		return "chroot into the target, without SYS_PTRACE"
	case ProfileRestricted:
		return "look-only: beside the target, with its files under /proc/PID/root"
	}

	return string(p)
}

// candidateProfiles lists the profiles to try for a wish, in order.
func (p Profile) candidateProfiles() []Profile {
	if p == ProfileAuto {
		return autoProfiles
	}
	return []Profile{p}
}

// defaultIdleTimeout is how long a container stays with nothing to do when nobody says
// otherwise. One with capabilities that a runtime does not grant by default is
// there for anyone who may exec in the pod, so it ends soon.
func (p Profile) defaultIdleTimeout() time.Duration {
	switch p {
	case ProfileSetns, ProfileChroot:
		return time.Minute
	}
	return 10 * time.Minute
}

// unknownUser is who a look-only shell runs as when nothing tells who the
// target runs as: "nonroot" of the distroless images, the commonest one.
const unknownUser = int64(65532)

// noCapabilities drops what a runtime grants by default.
var noCapabilities = []corev1.Capability{"ALL"}

// newSecurityContext is what every container of kdiag's asks for.
func newSecurityContext() *corev1.SecurityContext {
	yes := true
	return &corev1.SecurityContext{
		ReadOnlyRootFilesystem: &yes,
		SeccompProfile:         &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// copyConfinement has a container run under the AppArmor profile and the SELinux options of a target that
// has its own: the node's security module keeps two of different ones apart, with SYS_PTRACE too.
// What holds for the whole pod holds for kdiag's container anyway.
func copyConfinement(t TargetContainer, sc *corev1.SecurityContext) {
	if own := securityContextOf(t.Pod, t.Container); own != nil {
		sc.AppArmorProfile, sc.SELinuxOptions = own.AppArmorProfile, own.SELinuxOptions
	}
}

// runAsRoot has a container run as root. The group too: a pod's runAsGroup would
// otherwise hold for it.
func runAsRoot(sc *corev1.SecurityContext) {
	no, root := false, int64(0)
	sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot = &root, &root, &no
}

// netSecurityContext is what a net container asks for: root, without whom the
// runtime makes NET_ADMIN effective for no one, and nothing else of root's.
func netSecurityContext() *corev1.SecurityContext {
	no := false
	sc := newSecurityContext()
	runAsRoot(sc)
	sc.AllowPrivilegeEscalation = &no
	sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities, Add: []corev1.Capability{"NET_ADMIN"}}
	return sc
}

// securityContext is what a shell container of profile p asks for.
func (p Profile) securityContext(t TargetContainer) *corev1.SecurityContext {
	sc := newSecurityContext()
	copyConfinement(t, sc)
	if p == ProfileRestricted {
		yes, no := true, false
		sc.RunAsUser, sc.RunAsGroup = findTargetUser(t)
		sc.RunAsNonRoot = &yes
		sc.AllowPrivilegeEscalation = &no
		sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities}
		return sc
	}

	runAsRoot(sc)
	add := []corev1.Capability{"SYS_CHROOT"}
	switch p {
	case ProfileSetns:
		add = append(add, "SYS_ADMIN", "SYS_PTRACE")
	case ProfileChroot:
		add = append(add, "SYS_PTRACE")
	}

	sc.Capabilities = &corev1.Capabilities{Add: add}
	return sc
}

// findTargetUser is the uid and gid the target's processes have, as far as the API
// tells: the runtime's own report (Kubernetes 1.31, KEP-3619; containerd 2 has
// it, 1.6 has not), else the spec. Root is no choice, for "restricted" forbids it.
// The gid is nil where the image decides, which then gives 0 for our image.
func findTargetUser(t TargetContainer) (uid, gid *int64) {
	if status := findStatus(t.Pod, t.Container); status != nil && status.User != nil && status.User.Linux != nil && status.User.Linux.UID != 0 {
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
