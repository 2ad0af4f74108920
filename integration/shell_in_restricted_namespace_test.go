package integration

import (
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"

	corev1 "k8s.io/api/core/v1"
)

// TestShellLookOnly opens a shell beside the target, as the target's user, in a
// namespace that enforces "restricted". It needs no rights at all.
func TestShellLookOnly(t *testing.T) {
	namespace := kit.CreatePods(t, "restricted.yaml", "pod-security.kubernetes.io/enforce=restricted")
	for _, pod := range []string{"nonroot", "distroless"} {
		t.Run(pod, func(t *testing.T) {
			got := kit.RunKdiag(t, "shell", "-n", namespace, pod, "--", "-c", printTarget+`; echo; pwd; id -u; exit 7`)
			if got.Code != 7 || !strings.HasPrefix(got.Stdout, "hello from the target\nwho=") || strings.HasSuffix(got.Stdout, "\n0\n") {
				t.Errorf("shell: %v\nwant the target's files under $KDIAG_ROOT, and not to be root", got)
			}
			if !strings.Contains(got.Stderr, "profile restricted") || !strings.Contains(got.Stderr, `violates PodSecurity "restricted:latest"`) {
				t.Errorf("stderr = %q, want the profile and the cluster's reason", got.Stderr)
			}
		})
	}
}

// TestShellLookOnlyRoot opens a shell beside a target that runs as root: it sees
// the target's processes but not its files, and says so.
func TestShellLookOnlyRoot(t *testing.T) {
	namespace := kit.SharedPods(t)
	got := kit.RunKdiag(t, "shell", "-n", namespace, "deploy/web", "--profile=restricted", "--", "-c", `id -u; echo "${GOMAXPROCS-unset}"; ls "$KDIAG_ROOT/"; ps`)
	if !strings.HasPrefix(got.Stdout, "65532\nunset\n") || strings.Contains(got.Stdout, "data") || !strings.Contains(got.Stdout, "/app") {
		t.Errorf("shell: %v\nwant the processes and none of the files", got)
	}
	if !strings.Contains(got.Stderr, "profile restricted") || !strings.Contains(got.Stderr, "Permission denied") {
		t.Errorf("stderr = %q, want the profile and why there are no files", got.Stderr)
	}
}

// TestShellBaseline takes the profile that Pod Security "baseline" admits.
func TestShellBaseline(t *testing.T) {
	namespace := kit.CreateNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "restricted.yaml"))
	kit.AddPods(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	for _, pod := range []string{"root", "nonroot", "distroless"} {
		t.Run(pod, func(t *testing.T) {
			got := kit.RunKdiag(t, "shell", "-n", namespace, pod, "--", "-c", printTarget+`; exit 7`)
			if got.Code != 7 || !strings.HasPrefix(got.Stdout, "hello from the target\nwho=") {
				t.Errorf("shell: %v\nwant to be in the target", got)
			}
			if !strings.Contains(got.Stderr, "profile baseline") || !strings.Contains(got.Stderr, `violates PodSecurity "baseline:latest"`) {
				t.Errorf("stderr = %q, want the profile and the cluster's reason", got.Stderr)
			}
		})
	}
}

// TestShellBaselineByPolicy takes the next profile where a policy of the cluster
// forbids SYS_PTRACE alone.
func TestShellBaselineByPolicy(t *testing.T) {
	namespace := kit.CreatePolicedPod(t, "no-sys-ptrace", "baseline")
	got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", printTarget)
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "hello from the target\n") ||
		!strings.Contains(got.Stderr, "note: profile baseline: ") || !strings.Contains(got.Stderr, "SYS_PTRACE is not for ephemeral containers") {
		t.Errorf("shell: %v\nwant profile baseline, and why", got)
	}
}

// TestAutoTakesTheLeast adds SYS_PTRACE and SYS_CHROOT where everything is
// admitted, for a minute, and says nothing. The profile setns is for those who ask
// for it, and says what it grants.
func TestAutoTakesTheLeast(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	shell := func(args ...string) kit.Result {
		return kit.RunKdiag(t, append([]string{"shell", "-n", namespace, "root"}, append(args, "--", "-c", "true")...)...)
	}

	if got := shell(); got != (kit.Result{}) {
		t.Errorf("shell: %v, want no note", got)
	}

	got := shell("--profile=setns")
	if got.Code != 0 || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, "note: profile setns: the container has SYS_ADMIN") ||
		!strings.Contains(got.Stderr, "60s after the last session") {
		t.Errorf("shell --profile=setns: %v, want one line on what it grants", got)
	}

	if got = shell("--profile=setns", "-q"); got != (kit.Result{}) {
		t.Errorf("shell --profile=setns -q: %v, want no note", got)
	}
	if got = shell(); got != (kit.Result{}) {
		t.Errorf("shell beside a setns container: %v, want the least again", got)
	}

	containers := kit.ReadPod(t, namespace, "root").Spec.EphemeralContainers
	want := map[string][]corev1.Capability{
		"--profile=chroot": {"SYS_CHROOT", "SYS_PTRACE"},
		"--profile=setns":  {"SYS_CHROOT", "SYS_ADMIN", "SYS_PTRACE"},
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

// TestNeedIsTold names the profile that would do where a target has more rights
// than the shell.
func TestNeedIsTold(t *testing.T) {
	namespace := kit.CreatePods(t, "privileged.yaml")
	got := kit.RunKdiag(t, "shell", "-n", namespace, "privileged", "--", "-c", "true")
	if got.Code != 0 || !strings.Contains(got.Stderr, "the target has all privileges") || !strings.Contains(got.Stderr, "use --profile=setns --keep-capabilities") {
		t.Errorf("shell beside a privileged target: %v, want the profile that would do", got)
	}

	got = kit.RunKdiag(t, "shell", "-n", namespace, "netadmin", "--profile=baseline", "--", "-c", "true")
	if !strings.Contains(got.Stderr, "the target has NET_ADMIN") || !strings.Contains(got.Stderr, "use --profile=chroot") {
		t.Errorf("shell of profile baseline beside a target with NET_ADMIN: %v, want the profile that would do", got)
	}
}
