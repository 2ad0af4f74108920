package integration

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// scriptPod returns the manifest of a pod whose container "app" runs a shell script, and may write to
// /mark.
func scriptPod(name, script string) string { return kit.ScriptManifest(name, name, script) }

// TestTerminatingPod works in a pod that is terminating, as kubectl's exec and logs do: in the shell
// container that there is, until the application has ended. None can be added there.
func TestTerminatingPod(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	const ending = "trap 'echo ending; while [ ! -e /mark/end ]; do sleep 0.1; done; exit 0' TERM; echo up; while :; do sleep 0.1; done"
	for _, name := range []string{"used", "unused"} {
		manifest := strings.Replace(scriptPod(name, ending), "terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 120", 1)
		kit.AddPods(t, namespace, manifest)
	}
	shell := func(pod, script string) kit.Result {
		return kit.RunKdiag(t, "shell", "-n", namespace, pod, "--", "-c", script)
	}
	if got := shell("used", "echo before"); got.Stdout != "before\n" {
		t.Fatalf("shell before: %v", got)
	}
	watch := kit.StartKdiag(t, "ps", "-n", namespace, "used", "--watch", "--interval=200ms", "-o", "json")
	watch.WaitForLines(1)

	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "used", "unused", "--wait=false")
	kit.WaitUntil(t, "the application to get SIGTERM", func() bool {
		return strings.Contains(kit.RunKubectl(t, "logs", "-n", namespace, "used"), "ending")
	})

	watch.WaitForLines(len(watch.WaitForLines(1)) + 3)
	watch.Stop()
	// Nobody is in it any more, and it lives.
	if got := shell("used", "echo after"); got.Stdout != "after\n" || !strings.Contains(got.Stderr, "pod used is terminating") {
		t.Errorf("shell while the pod ends: %v", got)
	}
	if got := kit.RunKdiag(t, "ps", "-n", namespace, "used"); got.Code != 0 || !strings.Contains(got.Stdout, "sleep 0.1") {
		t.Errorf("ps while the pod ends: %v", got)
	}
	for _, name := range []string{"used", "unused"} {
		if got := kit.RunKdiag(t, "logs", "-n", namespace, name, "--follow=false"); got.Code != 0 || !strings.Contains(got.Stdout, "ending") {
			t.Errorf("logs %s while the pod ends: %v", name, got)
		}
	}

	kit.ExpectFailure(1, "no container can be added to a pod that is terminating", "kubectl describe pod").Verify(t, "shell", shell("unused", "true"))
	kit.ExpectFailure(1, "no container can be added to a pod that is terminating", "kubectl describe pod").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "unused", "8080:1"))
	kit.RunDoctor(t, "-n", namespace, "unused").Verify(t, "target", "failed", "no container can be added", "kubectl describe pod")
	kit.RunDoctor(t, "-n", namespace, "used").Verify(t, "target", "ok", "container app", "")

	if got := shell("used", "touch /mark/end"); got.Code != 0 {
		t.Errorf("shell that ends the application: %v", got)
	}
	kit.RunKubectl(t, "wait", "pod", "-n", namespace, "used", "--for=delete", "--timeout=30s")
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "unused", "--force", "--grace-period=0")
}

// TestCrashLoop waits for the next start of a container that has crashed twice.
func TestCrashLoop(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	const crashing = "[ -e /mark/2 ] && exec sleep 1000; [ -e /mark/1 ] && touch /mark/2; touch /mark/1; echo last words; exit 7"
	kit.ApplyManifest(t, namespace, scriptPod("crash", crashing))
	kit.WaitForPodField(t, namespace, "crash", "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].state}", "1{\"terminated")

	// What is known is said while it waits.
	shell := kit.StartKdiag(t, "shell", "-n", namespace, "crash", "--", "-c", "echo in; ps | grep -c 'sleep 1000'")
	shell.WaitForOutput("; waiting for its next start")
	got := shell.WaitForEnd()
	known := regexp.MustCompile(`^note: container app of pod \S+ does not run: it ended \S+ ago, after running for \S+: exit code 7; it was restarted once before\n` +
		`note: it logged: last words\nnote: to look around while it does not run: kubectl kdiag shell .* --copy\nnote: container app of pod .*waiting for its next start`)
	if !known.MatchString(got.Stderr) {
		t.Errorf("shell: %v\nwant it to begin with what is known of the container", got)
	}
	want := "waiting for its next start (what it logged last: kubectl kdiag logs -n " + namespace + " crash -c app --previous)"
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "in\n") || strings.Count(got.Stderr, want) != 1 {
		t.Errorf("shell: %v\nwant one, with a note %q", got, want)
	}
	if got := kit.RunKdiag(t, "logs", "-n", namespace, "crash", "-c", "app", "--previous"); !strings.Contains(got.Stdout, "last words") {
		t.Errorf("logs as in the note: %v", got)
	}
	kit.VerifyContainerCount(t, namespace, "crash", 1)
}

// TestPodInitializing waits for a container while its init container still runs, and names that one.
func TestPodInitializing(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	const setup = `  initContainers:
  - name: setup
    image: localhost/kdiag-sample:logger
    imagePullPolicy: Never
    command: [sh, -c, "while [ ! -e /mark/go ]; do sleep 0.1; done"]
    volumeMounts: [{name: mark, mountPath: /mark}]
  containers:
`
	kit.ApplyManifest(t, namespace, strings.Replace(scriptPod("slow", "exec sleep 1000"), "  containers:\n", setup, 1))
	kit.WaitForPodField(t, namespace, "slow", "{.status.initContainerStatuses[0].state}", "running")

	shell := kit.StartKdiag(t, "shell", "-n", namespace, "slow", "--", "-c", "echo in; ps | grep -c 'sleep 100[0]'")
	shell.WaitForOutput("it is waiting: PodInitializing: init container setup is running; waiting for it to start")
	kit.RunKubectl(t, "exec", "-n", namespace, "slow", "-c", "setup", "--", "sh", "-c", "touch /mark/go")
	if got := shell.WaitForEnd(); got.Code != 0 || got.Stdout != "in\n1\n" {
		t.Errorf("shell: %v\nwant one, once the init container has ended", got)
	}
}

// TestTargetJustRestarted enters a container in the moment in which it restarts, as the API server
// does not know yet. The input is the command's, whichever try gets it.
func TestTargetJustRestarted(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared PIDs %t", shared), func(t *testing.T) {
			namespace := kit.CreateNamespace(t)
			manifest := strings.Replace(scriptPod("app", "exec sleep 1000"), "spec:\n", fmt.Sprintf("spec:\n  shareProcessNamespace: %t\n", shared), 1)
			kit.AddPods(t, namespace, manifest)
			if got := kit.RunKdiag(t, "shell", "-n", namespace, "app", "--", "-c", "true"); got.Code != 0 {
				t.Fatalf("shell before: %v", got)
			}

			first := kit.FindContainerProcess(t, namespace, "app", "{.status.containerStatuses[0].containerID}")
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			kit.WaitUntil(t, "the first process to end", func() bool { return syscall.Kill(first, 0) != nil })

			got := kit.RunKdiagWith(t, "all of it", nil, "shell", "-n", namespace, "app", "--", "-c", "cat; ps | grep -c 'sleep 100[0]'")
			if got.Code != 0 || got.Stdout != "all of it1\n" {
				t.Errorf("shell: %v\nwant one in the new instance", got)
			}
			if got := kit.RunKdiag(t, "ps", "-n", namespace, "app"); got.Code != 0 || !strings.Contains(got.Stdout, "sleep 1000") {
				t.Errorf("ps: %v", got)
			}
		})
	}
}

// TestEphemeralOfOthers enters an ephemeral container of somebody else's, or says why it cannot.
func TestEphemeralOfOthers(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, scriptPod("app", "exec sleep 1000"))
	for _, flags := range [][]string{{"-c", "beside", "--target=app", "--env=COLOUR=blue"}, {"-c", "apart"}} {
		args := append([]string{"debug", "-n", namespace, "app", "--image=localhost/kdiag-sample:logger", "--image-pull-policy=Never", "--attach=false"}, flags...)
		kit.RunKubectl(t, append(args, "--", "sleep", "2000")...)
	}
	kit.WaitUntil(t, "the ephemeral containers", func() bool {
		states := kit.ReadPodField(t, namespace, "app", "{.status.ephemeralContainerStatuses[*].state}")
		return strings.Count(states, "running") == 2
	})

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "app", "-c", "beside", "--", "-c", "echo $COLOUR"); got.Code != 0 || got.Stdout != "blue\n" {
		t.Errorf("shell: %v", got)
	}
	if got := kit.RunKdiag(t, "ps", "-n", namespace, "app", "-c", "beside"); got.Code != 0 || !strings.Contains(got.Stdout, "sleep 2000") || strings.Contains(got.Stdout, "sleep 1000") {
		t.Errorf("ps: %v", got)
	}
	kit.ExpectFailure(1, "Kubernetes lets no other container join", "kubectl exec").
		Verify(t, "one with PIDs of its own", kit.RunKdiag(t, "shell", "-n", namespace, "app", "-c", "apart"))
	kit.ExpectFailure(1, "the pod has no such container", "app, beside, apart").
		Verify(t, "one that does not exist", kit.RunKdiag(t, "shell", "-n", namespace, "app", "-c", "none"))
}

// canary has two Deployments whose pods have the same labels.
const canary = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, command: [sh, -c, "echo I am %[1]s; exec sleep 1000"]}
---
`

// TestOwnPodsOnly finds a Deployment's own pods beside those of a newer one with the same labels, for
// a user who may not list ReplicaSets, too.
func TestOwnPodsOnly(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	for _, name := range []string{"web", "web-canary"} {
		kit.ApplyManifest(t, namespace, fmt.Sprintf(canary, name))
		kit.RunKubectl(t, "rollout", "status", "-n", namespace, "deploy/"+name, "--timeout=60s")
	}

	user := namespace + "-user"
	kit.CreateRole(t, namespace, "pods", user, "--verb=get,list,watch", "--resource=pods,pods/log")
	kit.CreateRole(t, namespace, "deployments", user, "--verb=get", "--resource=deployments.apps")
	kit.WaitForRight(t, namespace, user, "get deployments.apps")
	for _, name := range []string{"web", "web-canary"} {
		for _, as := range [][]string{nil, {"--as=" + user}} {
			got := kit.RunKdiag(t, append([]string{"logs", "-n", namespace, "deploy/" + name, "--follow=false", "-o", "raw"}, as...)...)
			if got.Code != 0 || got.Stdout != "I am "+name+"\n" {
				t.Errorf("logs deploy/%s %q: %v\nwant its own pod's", name, as, got)
			}
		}
	}

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "deploy/web", "--", "-c", "cat /proc/1/cmdline; hostname"); !strings.Contains(got.Stdout, "web-") || strings.Contains(got.Stdout, "canary") {
		t.Errorf("shell deploy/web: %v\nwant one in its own pod", got)
	}
}
