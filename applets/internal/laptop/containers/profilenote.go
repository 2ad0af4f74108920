package containers

import (
	"fmt"
	"strings"

	"kdiag/kube"

	"k8s.io/apimachinery/pkg/util/duration"
)

// GrantNote says what a container's profile grants to others. It returns an empty
// string for all profiles but setns.
func GrantNote(injected kube.Injected) string {
	if injected.Profile != kube.ProfileSetns {
		return ""
	}
	return fmt.Sprintf("profile setns: the container has SYS_ADMIN, SYS_PTRACE and SYS_CHROOT; "+
		"anyone who may exec in the pod can become root on the node until it ends, %s after the last session",
		duration.HumanDuration(injected.IdleTimeout))
}

// flagsFor returns the flags that ask for a profile. A shell gives up what it needed for
// joining the target unless it is told to keep that.
func flagsFor(p kube.Profile) string {
	if p == kube.ProfileSetns {
		return "--profile=setns --keep-capabilities"
	}
	return "--profile=" + string(p)
}

// ProfileNote says which profile a shell has. It returns an empty string where
// that is the first choice and the target needs no more.
func ProfileNote(target kube.TargetContainer, injected kube.Injected) string {
	if grants := GrantNote(injected); grants != "" {
		return grants
	}

	said := []string{fmt.Sprintf("profile %s: %s", injected.Profile, kube.DescribeProfile(injected.Profile))}
	if injected.Refused != "" {
		said = append(said, fmt.Sprintf("%s was refused: %s", kube.FirstChoice, injected.Refused))
	}

	would, why, needs := target.SuggestProfile(injected.Profile)
	if needs {
		said = append(said, fmt.Sprintf("%s; use %s", why, flagsFor(would)))
	}
	if injected.Profile == kube.FirstChoice && !needs {
		return ""
	}

	return strings.Join(said, "; ")
}
