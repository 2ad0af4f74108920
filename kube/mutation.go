package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// ChangedError reports a container that the cluster's admission changed, so
// that it cannot do what it was made for.
type ChangedError struct {
	// Container is the one that is in the pod, where nothing can remove it;
	// empty for one that a dry run was about.
	Container string
	// Changes lists what was changed, as "runAsNonRoot=true".
	Changes []string
}

func (e *ChangedError) Error() string {
	what := strings.Join(e.Changes, ", ")
	if e.Container == "" {
		return "the cluster would change the container: " + what
	}
	return fmt.Sprintf("the cluster changed container %s so that it cannot work: %s", e.Container, what)
}

// mutation compares a container as it is in a pod with what was asked for.
type mutation struct {
	pod   *corev1.Pod
	asked *corev1.EphemeralContainer
	// got is nil where the container is not there.
	got *corev1.EphemeralContainer
}

// findMutation finds the container in the pod of an answer.
func findMutation(pod *corev1.Pod, asked corev1.EphemeralContainer) mutation {
	return mutation{pod, &asked, findEphemeral(pod, asked.Name)}
}

// checkUsable is nil where the container can do its work; name is its name where it
// is in the pod for good.
func (m mutation) checkUsable(name string) *ChangedError {
	if !m.isUnusable() {
		return nil
	}
	return &ChangedError{name, m.listChanges()}
}

// asRejection is that of a profile whose container was changed. It is false for nil, a container that
// was not.
func (e *ChangedError) asRejection() (back rejection, changed bool) {
	if e == nil {
		return rejection{}, false
	}
	return rejection{byMutation, e}, true
}

// isUnusable reports whether the container cannot do its work: it does not run
// kdiag as it was told to, not beside its target, not as root where it must be,
// or without a capability that it uses. One that has more than it asked for is
// not for use either.
func (m mutation) isUnusable() bool {
	if m.got == nil || !slices.Equal(m.asked.Command, m.got.Command) || !slices.Equal(m.asked.Args, m.got.Args) ||
		m.asked.TargetContainerName != m.got.TargetContainerName {
		return true
	}

	asked, got := orEmpty(m.asked.SecurityContext), orEmpty(m.got.SecurityContext)
	root := asked.RunAsUser != nil && *asked.RunAsUser == 0
	if root && (m.effectiveUser() != 0 || m.requiresNonRoot()) || isTrue(got.Privileged) || isUnmasked(got) {
		return true
	}

	had, has := capabilitiesOf(asked), capabilitiesOf(got)
	needed := had.Add
	if len(had.Drop) == 0 {
		needed = slices.Concat(needed, reliedOn)
	}

	return slices.ContainsFunc(needed, func(c corev1.Capability) bool { return !hasCapability(has, c) }) ||
		slices.ContainsFunc(has.Add, func(c corev1.Capability) bool { return !hasCapability(had, c) })
}

// isUnmasked reports whether a container goes without what keeps every other one from parts of
// /proc, or from the kernel's calls.
func isUnmasked(sc corev1.SecurityContext) bool {
	return sc.ProcMount != nil && *sc.ProcMount != corev1.DefaultProcMount ||
		sc.SeccompProfile != nil && sc.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined
}

// reliedOn lists what a container that drops nothing uses of a runtime's
// default: to take the target's ids, to give capabilities up for good, and to
// end a shell that has other ids.
var reliedOn = []corev1.Capability{"KILL", "SETGID", "SETPCAP", "SETUID"}

// effectiveUser is the uid that the container would run as: the pod's where it has none
// of its own, else the image's, which for kdiag's is 0.
func (m mutation) effectiveUser() int64 {
	if own := orEmpty(m.got.SecurityContext).RunAsUser; own != nil {
		return *own
	}
	if pod := m.pod.Spec.SecurityContext; pod != nil && pod.RunAsUser != nil {
		return *pod.RunAsUser
	}
	return 0
}

// requiresNonRoot reports whether the kubelet would not start the container as root.
func (m mutation) requiresNonRoot() bool {
	if own := orEmpty(m.got.SecurityContext).RunAsNonRoot; own != nil {
		return *own
	}
	pod := m.pod.Spec.SecurityContext
	return pod != nil && isTrue(pod.RunAsNonRoot)
}

// hasCapability reports whether a runtime gives a container the capability: what
// is dropped by name is gone, what is added stays where all are dropped.
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

// normalizeCapability is a capability as containerd and CRI-O read it, in any case
// and with or without its prefix.
func normalizeCapability(c corev1.Capability) corev1.Capability {
	return corev1.Capability(strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
}

// listChanges says what was changed, in the words of the API. It leaves out what
// does not matter to kdiag: another image, which is the same from elsewhere,
// and more in the environment.
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

// listSecurityChanges says where two security contexts differ.
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

// appendChange says that a field has another value.
func appendChange[T comparable](said []string, name string, asked, got *T) []string {
	switch {
	case got == nil && asked != nil:
		return append(said, "no "+name)
	case got != nil && (asked == nil || *asked != *got):
		return append(said, fmt.Sprintf("%s=%v", name, *got))
	}
	return said
}

// difference lists the names in a list that another one lacks.
func difference(list, other []corev1.Capability) []string {
	var names []string
	for _, c := range list {
		if !slices.Contains(other, c) {
			names = append(names, string(c))
		}
	}
	return names
}

func capabilitiesOf(sc corev1.SecurityContext) corev1.Capabilities {
	if sc.Capabilities == nil {
		return corev1.Capabilities{}
	}
	return *sc.Capabilities
}

func orEmpty(sc *corev1.SecurityContext) corev1.SecurityContext {
	if sc == nil {
		return corev1.SecurityContext{}
	}
	return *sc
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
