package integration

import (
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// endingPods are pods whose application can be told to end.
const endingPods = `
apiVersion: v1
kind: Pod
metadata: {name: exits}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [sh, -c, 'trap "exit 3" TERM; while :; do sleep 0.2; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: grows}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: localhost/kdiag-sample:full
    imagePullPolicy: Never
    command: [sh, -c, 'while [ ! -e /go ]; do sleep 0.2; done; x=a; while :; do x=$x$x; done']
    resources: {limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: deleted}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [sh, -c, 'while :; do sleep 1; done']}
`

// TestShellSaysWhatEndedIt wants one line about the end of a target, or of the pod, that has ended a
// shell: for a command, for ps and on a terminal; and none about a command that was killed by itself.
func TestShellSaysWhatEndedIt(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, endingPods)
	for _, c := range []struct {
		pod, want string
		end       []string
	}{
		{"exits", "kdiag: container app of pod " + namespace + "/exits has ended: exit code 3", []string{"exec", "exits", "-c", "app", "--", "sh", "-c", "kill 1"}},
		{"grows", "has ended: it was killed for lack of memory (OOMKilled)", []string{"exec", "grows", "-c", "app", "--", "sh", "-c", "echo >/go"}},
		{"deleted", "kdiag: pod " + namespace + "/deleted was deleted", []string{"delete", "pod", "deleted", "--wait=false"}},
	} {
		t.Run(c.pod, func(t *testing.T) {
			t.Parallel()
			shell := kit.StartKdiag(t, "shell", "-q", "-n", namespace, c.pod, "--", "-c", "echo here; sleep 300")
			shell.WaitForLines(1)
			kit.RunKubectl(t, append([]string{"-n", namespace}, c.end...)...)
			got := shell.WaitForEnd()
			if got.Code != 137 || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, c.want) {
				t.Errorf("shell: %v, want code 137 and the line %q", got, c.want)
			}
		})
	}
}

// TestShellSaysWhatEndedItOnTerminal is TestShellSaysWhatEndedIt for a shell on a terminal, and for ps.
func TestShellSaysWhatEndedItOnTerminal(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, endingPods)
	watch := kit.StartKdiag(t, "ps", "--watch", "-o", "json", "-n", namespace, "exits")
	watch.WaitForLines(1)
	x := kit.OpenTerminal(t)
	x.OpenShell("exits/app:", "exits", "-n", namespace)

	kit.RunKubectl(t, "exec", "-n", namespace, "exits", "-c", "app", "--", "sh", "-c", "kill 1")
	x.WaitForText("exits has ended: exit code 3")
	if got := watch.WaitForEnd(); got.Code == 0 || !strings.Contains(got.Stderr, "exits has ended: exit code 3") {
		t.Errorf("ps --watch: %v, want the target's end", got)
	}

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "deleted", "--", "-c", "kill -9 $$"); got.Code != 137 || got.Stderr != "" {
		t.Errorf("a command that kills itself: %v, want its code alone", got)
	}
}

// TestContainersThatWait has what takes the kubelet, or an idle timeout, its time.
func TestContainersThatWait(t *testing.T) {
	t.Run("no home", verifyContainerEndsWithSession)
	t.Run("no image", verifyImageIsAwaited)
}

// verifyContainerEndsWithSession wants the container of a user without a home to end soon after the
// session: nobody would find it again.
func verifyContainerEndsWithSession(t *testing.T) {
	t.Parallel()
	namespace := kit.CreateRootPod(t)
	for _, command := range [][]string{{"shell", "--", "-c", "true"}, {"ps"}} {
		line := append([]string{command[0], "-n", namespace, "root"}, command[1:]...)
		got := kit.RunKdiagWith(t, "", []string{"HOME=", "XDG_CONFIG_HOME="}, line...)
		if got.Code != 0 || strings.Count(got.Stderr, "note: using a key for this run only") != 1 {
			t.Errorf("%s: %v, want it to work with a key for this run", command[0], got)
		}
	}

	for _, container := range kit.ListEphemeralContainers(t, namespace, "root") {
		kit.WaitForContainerEnd(t, namespace, "root", container)
	}
}

// verifyImageIsAwaited wants kdiag to wait for an image that the kubelet cannot pull at first, to say
// so, and to tell at the end what may be missing.
func verifyImageIsAwaited(t *testing.T) {
	t.Parallel()
	namespace := kit.CreateRootPod(t)
	never := []string{"shell", "-n", namespace, "root", "--image=127.0.0.1:1/nothere:1", "--timeout=3s"}
	began := time.Now()
	got := kit.RunKdiag(t, never...)
	t.Logf("gave up after %s", time.Since(began).Round(time.Millisecond))
	kit.ExpectFailure(1, "the image was not pulled within 3s: ", "the pod has no imagePullSecrets").Verify(t, "an image that is never pulled", got)
	if !strings.Contains(got.Stderr, "; waiting for the kubelet to retry\n") || !strings.Contains(got.Stderr, "back-off") {
		t.Errorf("stderr: %s\nwant the wait and the back-off named", got.Stderr)
	}

	kit.WaitUntil(t, "the kubelet's report on the image", func() bool {
		return strings.Contains(kit.ReadPodField(t, namespace, "root", "{.status.ephemeralContainerStatuses[*].state.waiting.reason}"), "Pull")
	})
	report := kit.RunDoctor(t, "-n", namespace, "root", "--image=127.0.0.1:1/nothere:1")
	report.Verify(t, "image", "failed", "failed to pull", "imagePullSecrets")
}
