package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
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
	if got.code != 0 || !strings.Contains(got.stderr, "the target has all privileges") || !strings.Contains(got.stderr, "--profile=setns --keep-capabilities would do") {
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

// absent is an image that no node has and no registry serves (RFC 6761).
const absent = "registry.invalid/kdiag:v1"

// mirrorAbsent is a webhook as clusters have it that pull from a mirror alone:
// it turns absent into an image that is there.
func mirrorAbsent() *webhook {
	return &webhook{kind: "Mutating", answer: func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		if c.Image == absent {
			c.Image = shared.image
		}
		return nil
	}}
}

// TestFoundAgainBehindMirror finds one container in three runs where a webhook
// rewrites its image: containers cannot be removed.
func TestFoundAgainBehindMirror(t *testing.T) {
	namespace := rooted(t)
	mirrorAbsent().start(t, namespace)
	for range 3 {
		if got := kdiag(t, "shell", "-n", namespace, "root", "--image="+absent, "--", "-c", "echo here"); got != (result{"here\n", "", 0}) {
			t.Errorf("shell: %v", got)
		}
	}

	if made := containersOf(t, namespace, "root"); len(made) != 1 {
		t.Errorf("three shells made %v, want one container", made)
	}

	// The same user on another machine has the key and no record.
	elsewhere := withKey(t)
	if got := kdiagWith(t, "", elsewhere, "shell", "-n", namespace, "root", "--image="+absent, "--", "-c", "echo here"); got != (result{"here\n", "", 0}) {
		t.Errorf("shell without a record: %v", got)
	}
	if made := containersOf(t, namespace, "root"); len(made) != 1 {
		t.Errorf("a shell without a record made another of %v", made)
	}
	// Another image is another container.
	if got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here"); got != (result{"here\n", "", 0}) {
		t.Errorf("shell with another image: %v", got)
	}
	if made := containersOf(t, namespace, "root"); len(made) != 2 {
		t.Errorf("a shell with another image: %v, want a second container", made)
	}
}

// withKey is the environment of a user who has the key of these tests' user,
// and nothing else of theirs.
func withKey(t *testing.T) []string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(shared.home, ".config", "kdiag", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}

	config := t.TempDir()
	if err = os.Mkdir(filepath.Join(config, "kdiag"), 0o700); err == nil {
		err = os.WriteFile(filepath.Join(config, "kdiag", "key.pem"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	return []string{"HOME=" + config, "XDG_CONFIG_HOME=" + config}
}

// TestDeadContainerIsReplaced adds another container where the one that is
// there cannot start and something else is asked for.
func TestDeadContainerIsReplaced(t *testing.T) {
	namespace := rooted(t)
	shell := func(policy string) result {
		return kdiag(t, "shell", "-n", namespace, "root", "--image="+absent, "--image-pull-policy="+policy, "--", "-c", "echo alive")
	}
	failure{1, "is not present with pull policy of Never", "--image REF"}.check(t, "an image that is not there", shell("Never"))
	mirrorAbsent().start(t, namespace) // and now it is
	for range 2 {
		if got := shell("IfNotPresent"); got != (result{"alive\n", "", 0}) {
			t.Errorf("shell: %v, want it alive", got)
		}
	}

	if made := containersOf(t, namespace, "root"); len(made) != 2 {
		t.Errorf("containers: %v, want the dead one and the one in its place", made)
	}
}

// TestReasonIsToldAtOnce says why a container does not start before it gives
// the kubelet its next try, up to 16 s later.
func TestReasonIsToldAtOnce(t *testing.T) {
	namespace := rooted(t)
	args := []string{"shell", "-n", namespace, "root", "--image=" + absent, "--image-pull-policy=Never", "--", "-c", "true"}
	failure{1, "is not present with pull policy of Never", "--image REF"}.check(t, "an image that is not there", kdiag(t, args...))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := exec.CommandContext(ctx, shared.binary(), args...)
	again.Env = shared.env()
	stderr, err := again.StderrPipe()
	if err == nil {
		err = again.Start()
	}
	if err != nil {
		t.Fatal(err)
	}

	first, _ := bufio.NewReader(stderr).ReadString('\n')
	if err = again.Process.Kill(); err != nil {
		t.Errorf("it had ended after %q, want it to wait for the kubelet", first)
	}

	_ = again.Wait()
	if !strings.HasPrefix(first, "note: container kdiag-shell-app-") || !strings.Contains(first, "is not present with pull policy of Never") {
		t.Errorf("the first line is %q, want the reason", first)
	}
	if made := containersOf(t, namespace, "root"); len(made) != 1 {
		t.Errorf("containers: %v, want the one, which the kubelet tries again", made)
	}
}

// TestSeveralAtOnceMakeOne has several of a user's kdiag, started together, use
// one container, while a webhook takes its time over each.
func TestSeveralAtOnceMakeOne(t *testing.T) {
	namespace := rooted(t)
	slow := webhook{kind: "Validating", answer: func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		time.Sleep(500 * time.Millisecond)
		return nil
	}}
	slow.start(t, namespace)
	var names [4]string
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() { names[i] = kdiag(t, "manage", "-n", namespace, "root").stdout })
	}

	all.Wait()
	if made := containersOf(t, namespace, "root"); len(made) != 1 {
		t.Errorf("%d at once made %v and took %q, want one container", len(names), made, names)
	}

	for _, name := range names {
		if name == "" || name != names[0] {
			t.Errorf("%d at once took %q, want the same", len(names), names)
		}
	}
}
