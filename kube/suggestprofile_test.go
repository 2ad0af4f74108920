package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestSuggestProfile wants a better profile named if the target plainly has more privileges
// than the shell, and none otherwise.
func TestSuggestProfile(t *testing.T) {
	yes, root, user := true, int64(0), int64(1000)
	add := func(names ...corev1.Capability) *corev1.SecurityContext {
		return &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: names}}
	}

	for _, c := range []struct {
		name    string
		target  *corev1.SecurityContext
		profile Profile
		want    Profile
		why     string
	}{
		{"nothing said", nil, ProfileChroot, "", ""},
		{"nothing said, baseline", nil, ProfileBaseline, "", ""},
		{"nothing said, restricted", nil, ProfileRestricted, "", ""},
		{"privileged", &corev1.SecurityContext{Privileged: &yes}, ProfileChroot, ProfileSetns, "all privileges"},
		{"privileged, setns", &corev1.SecurityContext{Privileged: &yes}, ProfileSetns, "", ""},
		{"privileged, baseline", &corev1.SecurityContext{Privileged: &yes}, ProfileBaseline, ProfileChroot, "all privileges"},
		{"SYS_ADMIN", add("SYS_ADMIN"), ProfileChroot, ProfileSetns, "SYS_ADMIN"},
		{"ALL", add("ALL"), ProfileChroot, ProfileSetns, "ALL"},
		{"NET_ADMIN", add("NET_ADMIN"), ProfileChroot, "", ""},
		{"NET_ADMIN, baseline", add("NET_RAW", "NET_ADMIN"), ProfileBaseline, ProfileChroot, "has NET_ADMIN,"},
		{"a default one", add("NET_BIND_SERVICE", "SYS_CHROOT"), ProfileBaseline, "", ""},
		{"root", &corev1.SecurityContext{RunAsUser: &root}, ProfileRestricted, ProfileBaseline, "root"},
		{"another user", &corev1.SecurityContext{RunAsUser: &user}, ProfileRestricted, "", ""},
	} {
		pod := &corev1.Pod{}
		pod.Spec.Containers = []corev1.Container{{Name: "app", SecurityContext: c.target}}
		got, why, needs := TargetContainer{Pod: pod, Container: "app"}.SuggestProfile(c.profile)

		if got != c.want || needs != (c.want != "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: SuggestProfile(%s) = %q, %q, %t, want %q for %q", c.name, c.profile, got, why, needs, c.want, c.why)
		}
	}
}
