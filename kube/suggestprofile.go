package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// runtimeCapabilities lists what containerd, CRI-O and Docker grant a container that asks for
// nothing (containerd pkg/oci, defaultUnixCaps).
var runtimeCapabilities = []corev1.Capability{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// SuggestProfile suggests another profile if the target plainly has privileges that a shell with
// profile p lacks, and says which. It returns false if p will do.
func (t TargetContainer) SuggestProfile(p Profile) (better Profile, why string, lacks bool) {
	added := addedCapabilities(t)
	switch {
	case p == ProfileRestricted && runsAsRoot(t):
		return ProfileBaseline, "the target runs as root, so its files can't be opened", true
	case p == ProfileBaseline && len(added) > 0:
		// The kernel checks this for /proc/PID/root: capabilities(7), CAP_SYS_PTRACE.
		return ProfileChroot, fmt.Sprintf("the target has %s, so its files can't be opened without SYS_PTRACE", strings.Join(added, ", ")), true
	case p == ProfileChroot && slices.ContainsFunc(added, hasSysAdmin):
		return ProfileSetns, fmt.Sprintf("the target has %s, and the shell lacks SYS_ADMIN", strings.Join(added, ", ")), true
	}

	return "", "", false
}

// allPrivileges stands for what a privileged container has.
const allPrivileges = "all privileges"

// hasSysAdmin reports whether an added capability gives SYS_ADMIN.
func hasSysAdmin(capability string) bool {
	return slices.Contains([]string{allPrivileges, "ALL", "SYS_ADMIN"}, capability)
}

// addedCapabilities lists the capabilities that a target has beyond a runtime's default.
func addedCapabilities(t TargetContainer) []string {
	own := securityContextOf(t.Pod, t.Container)
	switch {
	case own == nil:
		return nil
	case own.Privileged != nil && *own.Privileged:
		return []string{allPrivileges}
	case own.Capabilities == nil:
		return nil
	}

	var added []string
	for _, capability := range own.Capabilities.Add {
		if name := normalizeCapability(capability); !slices.Contains(runtimeCapabilities, name) {
			added = append(added, string(name))
		}
	}

	return added
}

// runsAsRoot reports whether a target is known to run as uid 0: by the runtime's report, or else
// by the spec.
func runsAsRoot(t TargetContainer) bool {
	if reported := t.reportedUser(); reported != nil {
		return reported.UID == 0
	}

	uid, _ := specifiedUser(t.Pod, securityContextOf(t.Pod, t.Container))
	return uid != nil && *uid == 0
}
