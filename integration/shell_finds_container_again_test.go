package integration

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// absentImage names an image that no node has and no registry serves (RFC 6761).
const absentImage = "registry.invalid/kdiag:v1"

// mirrorAbsentImage returns a webhook as clusters have it that pull from a mirror
// alone: it replaces absentImage by an image that is there.
func mirrorAbsentImage() *kit.Webhook {
	return &kit.Webhook{Kind: "Mutating", Answer: func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		if c.Image == absentImage {
			c.Image = kit.ImageUnderTest()
		}
		return nil
	}}
}

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

	key, err := os.Stat(kit.HomePath(".config/kdiag/key.pem"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("the user's key: %v, %v, want a file of mode 0600", key, err)
	}
}

// TestShellReplaced starts a new container where the old one died.
func TestShellReplaced(t *testing.T) {
	namespace := kit.CreateRootPod(t)
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

// TestShellLeaves has the idle container end by itself, and leave the application
// alone.
func TestShellLeaves(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	got := kit.RunKdiag(t, "manage", "-n", namespace, "root", "--idle-timeout=2s")
	kit.WaitForContainerEnd(t, namespace, "root", strings.TrimSpace(got.Stdout))

	if restarts := kit.ReadPodField(t, namespace, "root", "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the application restarted %s times", restarts)
	}
}

// TestIdleTimeoutCounts refuses a container that is found again with another idle
// time-out than --idle-timeout asks for.
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

	kit.ExpectFailure(2, "with an idle timeout of 5m, not 60s", "leave out --idle-timeout").Verify(t, "another idle time-out", shell("--idle-timeout=1m"))
	kit.VerifyContainerCount(t, namespace, "root", 1)
}

// TestFoundAgainBehindMirror finds its container again where a webhook rewrites the
// image. Each one too many would stay: ephemeral containers cannot be removed.
func TestFoundAgainBehindMirror(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	mirrorAbsentImage().Register(t, namespace)
	here := kit.NewResult("here\n", "", 0)
	for range 3 {
		if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image="+absentImage, "--", "-c", "echo here"); got != here {
			t.Errorf("shell: %v", got)
		}
	}

	kit.VerifyContainerCount(t, namespace, "root", 1)

	// The same user on another machine has the key and no record.
	elsewhere := kit.CopyUser(t)
	if got := kit.RunKdiagWith(t, "", elsewhere, "shell", "-n", namespace, "root", "--image="+absentImage, "--", "-c", "echo here"); got != here {
		t.Errorf("shell without a record: %v", got)
	}
	kit.VerifyContainerCount(t, namespace, "root", 1)

	// Another image needs another container.
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here"); got != here {
		t.Errorf("shell with another image: %v", got)
	}
	kit.VerifyContainerCount(t, namespace, "root", 2)
}

// TestDeadContainerIsReplaced adds another container where the one that is there
// cannot start, and another pull policy is asked for.
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

	// The dead one, and the one in its place.
	kit.VerifyContainerCount(t, namespace, "root", 2)
}

// TestReasonIsToldAtOnce says why a container does not start, and only then waits
// for the kubelet's next attempt, up to 16 s later.
func TestReasonIsToldAtOnce(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	args := []string{"shell", "-n", namespace, "root", "--image=" + absentImage, "--image-pull-policy=Never", "--", "-c", "true"}
	kit.ExpectFailure(1, "is not present with pull policy of Never", "--image REF").Verify(t, "an image that is not there", kit.RunKdiag(t, args...))

	again := kit.StartKdiag(t, args...)
	again.WaitForOutput("\n")
	if again.HasEnded() {
		t.Error("it has ended, want it to wait for the kubelet")
	}

	again.Signal(syscall.SIGKILL)
	again.WaitForEnd()
	first, _, _ := strings.Cut(again.Stderr.String(), "\n")
	if !strings.HasPrefix(first, "note: container kdiag-shell-app-") || !strings.Contains(first, "is not present with pull policy of Never") {
		t.Errorf("the first line is %q, want the reason", first)
	}
	// The one there is, which the kubelet tries again.
	kit.VerifyContainerCount(t, namespace, "root", 1)
}

// TestSeveralAtOnceMakeOne starts kdiag several times at once for one user: all
// use one container, though a webhook takes its time over each.
func TestSeveralAtOnceMakeOne(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	slow := kit.Webhook{Kind: "Validating", Answer: func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		// This pause is what the test is about: the others come meanwhile.
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
