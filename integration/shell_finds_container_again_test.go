package integration

import (
	"bufio"
	"context"
	"kdiag/integration/kit"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestShellReused finds the user's container again; another user has one of
// their own.
func TestShellReused(t *testing.T) {
	namespace := kit.SharedPods(t)
	first := kit.RunKdiag(t, "manage", "-n", namespace, "readonly")
	again := kit.RunKdiag(t, "manage", "-n", namespace, "readonly")
	if first.Code != 0 || first.Stdout == "" || again != first {
		t.Errorf("manage twice: %v\nand %v\nwant the same container", first, again)
	}

	other := kit.RunKdiagWith(t, "", []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "manage", "-n", namespace, "readonly")
	if other.Code != 0 || other.Stdout == first.Stdout {
		t.Errorf("manage by another user: %v\nwant a container of their own", other)
	}

	key, err := os.Stat(filepath.Join(kit.HomeDir(), ".config", "kdiag", "key.pem"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("the user's key: %v, %v, want a file of mode 0600", key, err)
	}
}

// TestShellReplaced starts a new container where the old one died.
func TestShellReplaced(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	first := kit.RunKdiag(t, "manage", "-n", namespace, "root")
	// From within: it takes the shell with it.
	got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "kill -9 $(pgrep -f 'kdiag manager')")
	if got.Code == 0 {
		t.Errorf("shell whose container was killed: %v\nwant a failure", got)
	}

	// The API may still say that it runs; then the hint says what to do.
	got = kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo alive")
	if got.Code != 0 {
		if !strings.Contains(got.Stderr, "hint: the container it ran in has ended; run it again") {
			t.Errorf("shell after that: %v\nwant the hint", got)
		}
		got = kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo alive")
	}

	if got.Code != 0 || got.Stdout != "alive\n" {
		t.Errorf("shell after that: %v\nwant a new container", got)
	}

	second := kit.RunKdiag(t, "manage", "-n", namespace, "root")
	if second.Stdout == first.Stdout || second.Code != 0 {
		t.Errorf("manage: %v, want another container than %q", second, first.Stdout)
	}
}

// TestShellLeaves has the container end by itself, and leave the target alone.
func TestShellLeaves(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	got := kit.RunKdiag(t, "manage", "-n", namespace, "root", "--idle-timeout=2s")
	name := strings.TrimSpace(got.Stdout)
	kit.WaitUntil(t, "the idle container to end", func() bool {
		return kit.RunKubectl(t, "get", "pod", "root", "-n", namespace, "-o",
			`jsonpath={.status.ephemeralContainerStatuses[?(@.name=="`+name+`")].state.terminated.exitCode}`) == "0"
	})
	if restarts := kit.RunKubectl(t, "get", "pod", "root", "-n", namespace, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the application restarted %s times", restarts)
	}
}

// TestIdleTimeoutCounts has --idle-timeout hold for a container that is found
// again, or refuses to go on.
func TestIdleTimeoutCounts(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	shell := func(args ...string) kit.Result {
		return kit.RunKdiag(t, append([]string{"shell", "-n", namespace, "root"}, append(args, "--", "-c", "true")...)...)
	}
	if got := shell("--idle-timeout=5m"); got != (kit.Result{}) {
		t.Fatalf("shell: %v", got)
	}
	if got := shell("--idle-timeout=5m"); got != (kit.Result{}) {
		t.Errorf("shell with the same idle time-out: %v", got)
	}
	if got := shell(); got != (kit.Result{}) {
		t.Errorf("shell without one: %v", got)
	}

	kit.ExpectFailure(2, "with an idle time-out of 5m, not 60s", "leave out --idle-timeout").Verify(t, "another idle time-out", shell("--idle-timeout=1m"))
	if containers := kit.ReadPod(t, namespace, "root").Spec.EphemeralContainers; len(containers) != 1 {
		t.Errorf("%d containers, want one", len(containers))
	}
}

// TestFoundAgainBehindMirror finds one container in three runs where a webhook
// rewrites its image: containers cannot be removed.
func TestFoundAgainBehindMirror(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	mirrorAbsentImage().Register(t, namespace)
	for range 3 {
		if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image="+absentImage, "--", "-c", "echo here"); got != kit.NewResult("here\n", "", 0) {
			t.Errorf("shell: %v", got)
		}
	}

	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
		t.Errorf("three shells made %v, want one container", made)
	}

	// The same user on another machine has the key and no record.
	elsewhere := copyUserKey(t)
	if got := kit.RunKdiagWith(t, "", elsewhere, "shell", "-n", namespace, "root", "--image="+absentImage, "--", "-c", "echo here"); got != kit.NewResult("here\n", "", 0) {
		t.Errorf("shell without a record: %v", got)
	}
	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
		t.Errorf("a shell without a record made another of %v", made)
	}
	// Another image is another container.
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here"); got != kit.NewResult("here\n", "", 0) {
		t.Errorf("shell with another image: %v", got)
	}
	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 2 {
		t.Errorf("a shell with another image: %v, want a second container", made)
	}
}

// absentImage is an image that no node has and no registry serves (RFC 6761).
const absentImage = "registry.invalid/kdiag:v1"

// mirrorAbsentImage is a webhook as clusters have it that pull from a mirror alone:
// it turns absent into an image that is there.
func mirrorAbsentImage() *kit.Webhook {
	return &kit.Webhook{Kind: "Mutating", Answer: func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		if c.Image == absentImage {
			c.Image = kit.ImageUnderTest()
		}
		return nil
	}}
}

// copyUserKey is the environment of a user who has the key of these tests' user,
// and nothing else of theirs.
func copyUserKey(t *testing.T) []string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(kit.HomeDir(), ".config", "kdiag", "key.pem"))
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
	namespace := kit.CreateRootPod(t)
	shell := func(policy string) kit.Result {
		return kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image="+absentImage, "--image-pull-policy="+policy, "--", "-c", "echo alive")
	}
	kit.ExpectFailure(1, "is not present with pull policy of Never", "--image REF").Verify(t, "an image that is not there", shell("Never"))
	mirrorAbsentImage().Register(t, namespace) // and now it is
	for range 2 {
		if got := shell("IfNotPresent"); got != kit.NewResult("alive\n", "", 0) {
			t.Errorf("shell: %v, want it alive", got)
		}
	}

	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 2 {
		t.Errorf("containers: %v, want the dead one and the one in its place", made)
	}
}

// TestReasonIsToldAtOnce says why a container does not start before it gives
// the kubelet its next try, up to 16 s later.
func TestReasonIsToldAtOnce(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	args := []string{"shell", "-n", namespace, "root", "--image=" + absentImage, "--image-pull-policy=Never", "--", "-c", "true"}
	kit.ExpectFailure(1, "is not present with pull policy of Never", "--image REF").Verify(t, "an image that is not there", kit.RunKdiag(t, args...))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := exec.CommandContext(ctx, kit.BinaryPath(), args...)
	again.Env = kit.Environment()
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
	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
		t.Errorf("containers: %v, want the one, which the kubelet tries again", made)
	}
}

// TestSeveralAtOnceMakeOne has several of a user's kdiag, started together, use
// one container, while a webhook takes its time over each.
func TestSeveralAtOnceMakeOne(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	slow := kit.Webhook{Kind: "Validating", Answer: func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		time.Sleep(500 * time.Millisecond)
		return nil
	}}
	slow.Register(t, namespace)
	var names [4]string
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() { names[i] = kit.RunKdiag(t, "manage", "-n", namespace, "root").Stdout })
	}

	all.Wait()
	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
		t.Errorf("%d at once made %v and took %q, want one container", len(names), made, names)
	}

	for _, name := range names {
		if name == "" || name != names[0] {
			t.Errorf("%d at once took %q, want the same", len(names), names)
		}
	}
}
