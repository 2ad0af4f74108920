package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// readPod reads a pod as the API server has it.
func readPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "pod", "-n", namespace, name, "-o", "json")), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// TestAutoTakesTheLeast adds SYS_PTRACE and SYS_CHROOT where all is admitted,
// for a minute, and says nothing; setns is for those who ask for it, and says
// what it grants.
func TestAutoTakesTheLeast(t *testing.T) {
	namespace := rooted(t)
	shell := func(args ...string) result {
		return kdiag(t, append([]string{"shell", "-n", namespace, "root"}, append(args, "--", "-c", "true")...)...)
	}
	if got := shell(); got != (result{}) {
		t.Errorf("shell: %v, want no note", got)
	}
	got := shell("--profile=setns")
	if got.code != 0 || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "note: profile setns: the container has SYS_ADMIN") ||
		!strings.Contains(got.stderr, "60s after the last session") {
		t.Errorf("shell --profile=setns: %v, want one line on what it grants", got)
	}
	if got = shell("--profile=setns", "-q"); got != (result{}) {
		t.Errorf("shell --profile=setns -q: %v, want no note", got)
	}
	if got = shell(); got != (result{}) {
		t.Errorf("shell beside a setns container: %v, want the least again", got)
	}

	containers := readPod(t, namespace, "root").Spec.EphemeralContainers
	want := map[string][]corev1.Capability{
		"--profile=chroot": {"SYS_CHROOT", "SYS_PTRACE"}, "--profile=setns": {"SYS_CHROOT", "SYS_ADMIN", "SYS_PTRACE"},
	}
	if len(containers) != len(want) {
		t.Fatalf("%d containers, want %d", len(containers), len(want))
	}
	for _, c := range containers {
		sc := c.SecurityContext
		for profile, capabilities := range want {
			if slices.Contains(c.Args, profile) && !slices.Equal(sc.Capabilities.Add, capabilities) {
				t.Errorf("container %s has %v, want %v for %s", c.Name, sc.Capabilities.Add, capabilities, profile)
			}
		}
		if sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("container %s: seccomp profile %v, want the runtime's", c.Name, sc.SeccompProfile)
		}
		if last := c.Args[len(c.Args)-1]; last != "--idle-timeout=1m0s" {
			t.Errorf("container %s ends with %s, want a minute", c.Name, last)
		}
	}
}

// TestNeedIsTold names the profile that would do, where a target plainly has
// more than the shell.
func TestNeedIsTold(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "privileged.yaml"))
	waitForPods(t, namespace)
	got := kdiag(t, "shell", "-n", namespace, "privileged", "--", "-c", "true")
	if got.code != 0 || !strings.Contains(got.stderr, "the target has all privileges") || !strings.Contains(got.stderr, "--profile=setns would do") {
		t.Errorf("shell beside a privileged target: %v, want the profile that would do", got)
	}
	got = kdiag(t, "shell", "-n", namespace, "netadmin", "--profile=baseline", "--", "-c", "true")
	if !strings.Contains(got.stderr, "the target has NET_ADMIN") || !strings.Contains(got.stderr, "--profile=chroot would do") {
		t.Errorf("shell of profile baseline beside a target with NET_ADMIN: %v, want the profile that would do", got)
	}
}

// TestIdleTimeoutCounts has --idle-timeout hold for a container that is found
// again, or refuses to go on.
func TestIdleTimeoutCounts(t *testing.T) {
	namespace := rooted(t)
	shell := func(args ...string) result {
		return kdiag(t, append([]string{"shell", "-n", namespace, "root"}, append(args, "--", "-c", "true")...)...)
	}
	if got := shell("--idle-timeout=5m"); got != (result{}) {
		t.Fatalf("shell: %v", got)
	}
	if got := shell("--idle-timeout=5m"); got != (result{}) {
		t.Errorf("shell with the same idle time-out: %v", got)
	}
	if got := shell(); got != (result{}) {
		t.Errorf("shell without one: %v", got)
	}
	failure{2, "with an idle time-out of 5m, not 60s", "leave out --idle-timeout"}.check(t, "another idle time-out", shell("--idle-timeout=1m"))
	if containers := readPod(t, namespace, "root").Spec.EphemeralContainers; len(containers) != 1 {
		t.Errorf("%d containers, want one", len(containers))
	}
}
