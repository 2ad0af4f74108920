package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// ChangedError reports a container that the cluster's admission changed so that it cannot do
// its job.
type ChangedError struct {
	// Container names it if it is in the pod, where nothing can remove it. It is empty after
	// a dry run.
	Container string
	// Changes lists what differs, for example "runAsNonRoot=true".
	Changes []string
}

func (e *ChangedError) Error() string {
	what := strings.Join(e.Changes, ", ")
	if e.Container == "" {
		return "the cluster would change the container: " + what
	}
	return fmt.Sprintf("the cluster changed container %s so that it cannot work: %s", e.Container, what)
}

// mutation compares a container in a pod with what kdiag asked for.
type mutation struct {
	pod   *corev1.Pod
	asked *corev1.EphemeralContainer
	// got is nil if the pod does not have the container.
	got *corev1.EphemeralContainer
}

// findMutation finds the container in the pod that the API server answered with.
func findMutation(pod *corev1.Pod, asked corev1.EphemeralContainer) mutation {
	return mutation{pod, &asked, findEphemeral(pod, asked.Name)}
}

// checkUsable returns nil if the container can do its job. name is for the error: the
// container's name, or empty after a dry run.
func (m mutation) checkUsable(name string) *ChangedError {
	if !m.isUnusable() {
		return nil
	}
	return &ChangedError{name, m.listChanges()}
}

// asRejection turns the error into the rejection of a profile. It returns false for nil.
func (e *ChangedError) asRejection() (refused rejection, changed bool) {
	if e == nil {
		return rejection{}, false
	}
	return rejection{byMutation, e}, true
}

// isUnusable reports whether the container cannot do its job: it runs another command, has
// another target, is not root although it must be, or lacks a capability that it uses. A
// container with more privileges than it asked for is unusable, too.
func (m mutation) isUnusable() bool {
	if m.got == nil || !slices.Equal(m.asked.Command, m.got.Command) || !slices.Equal(m.asked.Args, m.got.Args) ||
		m.asked.TargetContainerName != m.got.TargetContainerName {
		return true
	}

	asked, got := orEmpty(m.asked.SecurityContext), orEmpty(m.got.SecurityContext)
	mustBeRoot := asked.RunAsUser != nil && *asked.RunAsUser == 0
	if mustBeRoot && (m.effectiveUser() != 0 || m.requiresNonRoot()) || isTrue(got.Privileged) || isUnmasked(got) {
		return true
	}

	had, has := capabilitiesOf(asked), capabilitiesOf(got)
	needed := had.Add
	if len(had.Drop) == 0 {
		needed = slices.Concat(needed, reliedOn)
	} else if hasCapability(had, netRaw) {
		needed = slices.Concat(needed, []corev1.Capability{netRaw})
	}

	return slices.ContainsFunc(needed, func(c corev1.Capability) bool { return !hasCapability(has, c) }) ||
		slices.ContainsFunc(has.Add, func(c corev1.Capability) bool { return !hasCapability(had, c) })
}

// isUnmasked reports whether a container sees all of /proc or may make every system call, which
// the runtime denies other containers.
func isUnmasked(sc corev1.SecurityContext) bool {
	return sc.ProcMount != nil && *sc.ProcMount != corev1.DefaultProcMount ||
		sc.SeccompProfile != nil && sc.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined
}

// reliedOn lists the capabilities that a container which drops none uses of a runtime's
// default: to take on the target's IDs, to give capabilities up for good, and to end a shell
// that has other IDs.
var reliedOn = []corev1.Capability{"KILL", "SETGID", "SETPCAP", "SETUID"}

// effectiveUser returns the uid that the container would run as: its own, or else the pod's,
// or else the image's, which is 0 for kdiag.
func (m mutation) effectiveUser() int64 {
	uid, _ := specifiedUser(m.pod, m.got.SecurityContext)
	if uid == nil {
		return 0
	}
	return *uid
}

// requiresNonRoot reports whether the kubelet would refuse to start the container as root.
func (m mutation) requiresNonRoot() bool {
	if own := orEmpty(m.got.SecurityContext).RunAsNonRoot; own != nil {
		return *own
	}

	pod := m.pod.Spec.SecurityContext
	return pod != nil && isTrue(pod.RunAsNonRoot)
}

// hasCapability reports whether a runtime gives a container a capability. Dropping it by name
// wins over adding it, and adding it wins over dropping all.
func hasCapability(c corev1.Capabilities, one corev1.Capability) bool {
	has := func(list []corev1.Capability, names ...corev1.Capability) bool {
		return slices.ContainsFunc(list, func(c corev1.Capability) bool { return slices.Contains(names, normalizeCapability(c)) })
	}

	one = normalizeCapability(one)
	switch {
	case has(c.Drop, one):
		return false
	case has(c.Add, one, "ALL"):
		return true
	}

	return slices.Contains(runtimeCapabilities, one) && !has(c.Drop, "ALL")
}

// normalizeCapability spells a capability in upper case and without prefix. containerd and
// CRI-O take any case, and an optional prefix.
func normalizeCapability(c corev1.Capability) corev1.Capability {
	return corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
}

// listChanges lists what was changed, in the words of the API. It leaves out what does not
// matter to kdiag: another image, which is the same one from a mirror, and more environment
// variables.
func (m mutation) listChanges() []string {
	if m.got == nil {
		return []string{"the container was removed"}
	}

	var said []string
	if !slices.Equal(m.asked.Command, m.got.Command) {
		said = append(said, shorten(fmt.Sprintf("command=%q", m.got.Command)))
	}
	if !slices.Equal(m.asked.Args, m.got.Args) {
		said = append(said, shorten(fmt.Sprintf("args=%q", m.got.Args)))
	}
	if m.asked.TargetContainerName != m.got.TargetContainerName {
		said = append(said, fmt.Sprintf("targetContainerName=%q", m.got.TargetContainerName))
	}

	for _, mount := range m.got.VolumeMounts {
		said = append(said, shorten(fmt.Sprintf("volumeMounts: %s at %s", mount.Name, mount.MountPath)))
	}

	return append(said, listSecurityChanges(orEmpty(m.asked.SecurityContext), orEmpty(m.got.SecurityContext))...)
}

// listSecurityChanges lists where two security contexts differ.
func listSecurityChanges(asked, got corev1.SecurityContext) []string {
	var said []string
	said = appendChange(said, "runAsNonRoot", asked.RunAsNonRoot, got.RunAsNonRoot)
	said = appendChange(said, "runAsUser", asked.RunAsUser, got.RunAsUser)
	said = appendChange(said, "runAsGroup", asked.RunAsGroup, got.RunAsGroup)
	said = appendChange(said, "privileged", asked.Privileged, got.Privileged)
	said = appendChange(said, "allowPrivilegeEscalation", asked.AllowPrivilegeEscalation, got.AllowPrivilegeEscalation)
	if got.ProcMount != nil && *got.ProcMount != corev1.DefaultProcMount {
		said = append(said, "procMount="+string(*got.ProcMount))
	}

	said = appendChange(said, "readOnlyRootFilesystem", asked.ReadOnlyRootFilesystem, got.ReadOnlyRootFilesystem)

	had, has := capabilitiesOf(asked), capabilitiesOf(got)
	for _, list := range []struct {
		what    string
		in, out []corev1.Capability
	}{{"dropped", has.Drop, had.Drop}, {"added", has.Add, had.Add}, {"not dropped", had.Drop, has.Drop}, {"not added", had.Add, has.Add}} {
		if names := difference(list.in, list.out); len(names) > 0 {
			said = append(said, "capabilities "+list.what+": "+strings.Join(names, " "))
		}
	}

	if !equality.Semantic.DeepEqual(asked.SeccompProfile, got.SeccompProfile) {
		kind := "none"
		if got.SeccompProfile != nil {
			kind = string(got.SeccompProfile.Type)
		}
		said = append(said, "seccompProfile="+kind)
	}

	if got.AppArmorProfile != nil && asked.AppArmorProfile == nil {
		said = append(said, "appArmorProfile="+string(got.AppArmorProfile.Type))
	}
	if got.SELinuxOptions != nil && asked.SELinuxOptions == nil {
		said = append(said, "seLinuxOptions="+joinReason(got.SELinuxOptions.Type, got.SELinuxOptions.Level))
	}

	return said
}

// appendChange adds a field to a list of changes if its value differs.
func appendChange[T comparable](said []string, name string, asked, got *T) []string {
	switch {
	case got == nil && asked != nil:
		return append(said, "no "+name)
	case got != nil && (asked == nil || *asked != *got):
		return append(said, fmt.Sprintf("%s=%v", name, *got))
	}
	return said
}

// difference lists the names that are in one list but not in the other.
func difference(list, other []corev1.Capability) []string {
	var names []string
	for _, c := range list {
		if !slices.Contains(other, c) {
			names = append(names, string(c))
		}
	}
	return names
}

// capabilitiesOf returns the capabilities of a security context, or empty ones.
func capabilitiesOf(sc corev1.SecurityContext) corev1.Capabilities {
	if sc.Capabilities == nil {
		return corev1.Capabilities{}
	}
	return *sc.Capabilities
}

// orEmpty returns a security context, or an empty one for nil.
func orEmpty(sc *corev1.SecurityContext) corev1.SecurityContext {
	if sc == nil {
		return corev1.SecurityContext{}
	}
	return *sc
}

// isTrue reports whether an optional flag is set.
func isTrue(flag *bool) bool { return flag != nil && *flag }
