package kube

import (
	"cmp"
	"slices"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// Profile says how a shell container joins its target, and what it asks the cluster for.
type Profile = wire.Profile

const (
	// ProfileAuto stands for the first of autoProfiles that the cluster admits.
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
	// SYS_CHROOT. Pod Security level "privileged". Users must ask for it by name, because
	// SYS_ADMIN is as good as root on the node.
	ProfileSetns Profile = "setns"
)

// FirstChoice is the profile with the least privileges that still does all of a shell's job. With
// less, a shell cannot open processes of other users.
const FirstChoice = ProfileChroot

// autoProfiles lists what ProfileAuto tries, in turn. Each asks the cluster for less than the one
// before it.
var autoProfiles = []Profile{FirstChoice, ProfileBaseline, ProfileRestricted}

// allProfiles adds those that ProfileAuto never tries.
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

// DescribeProfile says in a few words what a shell with a profile can do, or what a capture has.
func DescribeProfile(p Profile) string {
	switch p {
	case ProfileSetns:
		return "in the target's namespaces"
	case ProfileChroot:
		return "chroot into the target"
	case ProfileBaseline:
		return "chroot into the target, without SYS_PTRACE"
	case ProfileRestricted:
		return "look-only: beside the target, with its files under /proc/PID/root"
	case ProfileRaw:
		return "NET_RAW alone, added"
	case ProfileRawDefault:
		return "NET_RAW alone, if the runtime grants it by default (CRI-O doesn't)"
	}

	return string(p)
}

// candidateProfiles lists the profiles to try when the user asks for p, in order.
func candidateProfiles(p Profile) []Profile {
	if p == ProfileAuto {
		return autoProfiles
	}
	return []Profile{p}
}

// defaultIdleTimeout says how long a container with profile p stays without use if the user does
// not say.
func defaultIdleTimeout(p Profile) time.Duration {
	switch p {
	case ProfileSetns, ProfileChroot:
		return wire.PrivilegedIdleTimeout
	}
	return wire.DefaultIdleTimeout
}

// unknownUser is the uid of a look-only shell if the target's is not known: "nonroot" of the
// distroless images, the most common one.
const unknownUser = int64(65532)

// noCapabilities drops the capabilities that a runtime grants by default.
var noCapabilities = []corev1.Capability{"ALL"}

// newSecurityContext returns what each of kdiag's containers asks for.
func newSecurityContext() *corev1.SecurityContext {
	yes := true
	return &corev1.SecurityContext{
		ReadOnlyRootFilesystem: &yes,
		SeccompProfile:         &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// copyConfinement gives a container the target's own AppArmor profile and SELinux options. With
// different ones the node's security module keeps the two apart, even with SYS_PTRACE. What
// the pod sets for all its containers applies anyway.
func copyConfinement(t TargetContainer, sc *corev1.SecurityContext) {
	if own := securityContextOf(t.Pod, t.Container); own != nil {
		sc.AppArmorProfile, sc.SELinuxOptions = own.AppArmorProfile, own.SELinuxOptions
	}
}

// runAsRoot makes a container run as root, with group 0: otherwise the pod's runAsGroup would
// apply.
func runAsRoot(sc *corev1.SecurityContext) {
	no, root := false, int64(0)
	sc.RunAsUser, sc.RunAsGroup, sc.RunAsNonRoot = &root, &root, &no
}

// netSecurityContext returns what a net container asks for: NET_ADMIN alone, and root, because a
// runtime makes added capabilities effective only for root.
func netSecurityContext() *corev1.SecurityContext {
	no := false
	sc := newSecurityContext()
	runAsRoot(sc)
	sc.AllowPrivilegeEscalation = &no
	sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities, Add: []corev1.Capability{"NET_ADMIN"}}
	return sc
}

// shellSecurityContext returns what a shell container with profile p asks for.
func shellSecurityContext(p Profile, t TargetContainer) *corev1.SecurityContext {
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

// findTargetUser finds the uid and gid of the target's processes, as far as the API tells: in the
// runtime's report (Kubernetes 1.31, KEP-3619; containerd 2 has it, 1.6 does not), or else in the
// spec. It never returns root, which level "restricted" forbids. The gid is nil if the image
// decides it; for kdiag's image that is 0.
func findTargetUser(t TargetContainer) (uid, gid *int64) {
	if reported := t.reportedUser(); reported != nil && reported.UID != 0 {
		return &reported.UID, &reported.GID
	}

	uid, gid = specifiedUser(t.Pod, securityContextOf(t.Pod, t.Container))
	if uid == nil || *uid == 0 {
		user := unknownUser
		return &user, &user
	}

	return uid, gid
}

// reportedUser returns the target's user in the runtime's report, or nil.
func (t TargetContainer) reportedUser() *corev1.LinuxContainerUser {
	status := findStatus(t.Pod, t.Container)
	if status == nil || status.User == nil {
		return nil
	}
	return status.User.Linux
}

// specifiedUser returns the uid and gid that the spec gives a container: in its own security
// context, or else in the pod's. Each is nil if the image decides it.
func specifiedUser(pod *corev1.Pod, own *corev1.SecurityContext) (uid, gid *int64) {
	if shared := pod.Spec.SecurityContext; shared != nil {
		uid, gid = shared.RunAsUser, shared.RunAsGroup
	}

	if own != nil {
		uid, gid = cmp.Or(own.RunAsUser, uid), cmp.Or(own.RunAsGroup, gid)
	}
	return uid, gid
}

// securityContextOf returns the security context of a container in a pod's spec, or nil.
func securityContextOf(pod *corev1.Pod, container string) *corev1.SecurityContext {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == container {
				return list[i].SecurityContext
			}
		}
	}
	if ephemeral := findEphemeral(pod, container); ephemeral != nil {
		return ephemeral.SecurityContext
	}
	return nil
}
