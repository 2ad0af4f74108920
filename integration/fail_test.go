package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// failure is what a run that fails says: the exit code, and words that stand
// in its lines.
type failure struct {
	code  int
	error string // on the line "kdiag: …"
	hint  string // on a line "hint: …"
}

func (f failure) check(t *testing.T, what string, got result) {
	t.Helper()
	line, hints := "", ""
	lines := 0
	for text := range strings.Lines(got.stderr) {
		if strings.HasPrefix(text, "kdiag: ") {
			line, lines = text, lines+1
		}
		if strings.HasPrefix(text, "hint: ") {
			hints += text
		}
	}

	if got.code != f.code || lines != 1 || !strings.Contains(line, f.error) || !strings.Contains(hints, f.hint) || got.stdout != "" {
		t.Errorf("%s: %v\nwant code %d, one line with %q and a hint with %q", what, got, f.code, f.error, f.hint)
	}
}

func TestFailNoSuchPod(t *testing.T) {
	namespace := pods(t)
	failure{1, `pods "nothere" not found`, "distroless, hostnetwork, hostpid"}.check(t, "no such pod", kdiag(t, "shell", "-n", namespace, "nothere"))
	failure{1, `deployments.apps "nothere" not found`, "kubectl get deployments"}.check(t, "no such deployment", kdiag(t, "shell", "-n", namespace, "deploy/nothere"))
	failure{1, "there is none", "kubectl get pods"}.check(t, "no pod by label", kdiag(t, "shell", "-n", namespace, "-l", "app=nothere"))
	failure{1, "no such container", "it has: one, two"}.check(t, "no such container", kdiag(t, "shell", "-n", namespace, "several", "-c", "three"))
	failure{1, "not found", "has no pods"}.check(t, "no such namespace", kdiag(t, "shell", "-n", "kdiag-no-such", "web"))
}

func TestFailNotRunning(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "notrunning.yaml"))
	eventually(t, "the pod to end", func() bool {
		return kubectl(t, "get", "pod", "-n", namespace, "ended", "-o", "jsonpath={.status.phase}") == "Failed"
	})
	eventually(t, "the pod to be looked at by the scheduler", func() bool {
		return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "pending", "-o", "jsonpath={.status.conditions}"), "Unschedulable")
	})
	failure{1, "not running: the pod is not scheduled: Unschedulable", "kubectl describe pod"}.check(t, "a pending pod", kdiag(t, "shell", "-n", namespace, "pending"))
	failure{1, "not running: it ended with exit code", "kubectl describe pod"}.check(t, "an ended pod", kdiag(t, "shell", "-n", namespace, "ended"))
	failure{1, "not running: it waits: PodInitializing", "running now: setup; choose with -c"}.check(t, "an initializing pod", kdiag(t, "shell", "-n", pods(t), "initializing"))
}

// TestFailImage has the kubelet's own reason, long before a time-out.
func TestFailImage(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	never := []string{"shell", "-n", namespace, "root", "--image=localhost/nothere:1", "--pull-policy=Never", "--timeout=30s"}
	failure{1, "is not present with pull policy of Never", "kdiag image"}.check(t, "an image that is not there", kdiag(t, never...))
	failure{1, "failed to pull", "--image"}.check(t, "an image that cannot be pulled",
		kdiag(t, "shell", "-n", namespace, "root", "--image=127.0.0.1:1/nothere:1"))
	failure{1, "invalid reference format", ""}.check(t, "a bad image name", kdiag(t, "shell", "-n", namespace, "root", "--image=NOT/A/NAME", "--timeout=40s"))
	failure{1, "", "is localhost/kdiag-sample:debug a kdiag image"}.check(t, "an image that is not kdiag's",
		kdiag(t, "shell", "-n", namespace, "root", "--image=localhost/kdiag-sample:debug", "--pull-policy=Never"))
	// Once more: the kubelet's next try, not another container.
	before := kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
	failure{1, "is not present with pull policy of Never", "kdiag image"}.check(t, "the same image again", kdiag(t, never...))
	if after := kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].name}"); after != before {
		t.Errorf("ephemeral containers: %q, before: %q, want no more", after, before)
	}
}

// TestFailWhileWaiting has the pod go, the user lose patience, or the time run
// out, while a registry does not answer.
func TestFailWhileWaiting(t *testing.T) {
	if shared.node == "" {
		t.Skip("a registry that does not answer is at hand in the project's own cluster only")
	}

	port := deaf(t, ":0")
	image := "10.199.0.1:" + port + "/deaf:1"
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	wait := []string{"shell", "-n", namespace, "root", "--image=" + image}

	failure{1, "no answer within 3s", "--timeout waits longer"}.check(t, "time-out", kdiag(t, append(wait, "--timeout=3s")...))

	start := func() (*exec.Cmd, *strings.Builder) {
		cmd := exec.Command(shared.binary(), wait...)
		cmd.Env = shared.env()
		var stderr strings.Builder
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}

		eventually(t, "the container to be asked for", func() bool {
			return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].image}"), image)
		})
		return cmd, &stderr
	}

	cmd, stderr := start()
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || strings.Contains(stderr.String(), "kdiag: ") {
		t.Errorf("Ctrl-C while waiting: code %d, stderr %q, want 130 and no error", code, stderr.String())
	}

	cmd, stderr = start()
	kubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false")
	_ = cmd.Wait()
	failure{1, "the pod was deleted meanwhile", ""}.check(t, "pod deleted", result{"", stderr.String(), cmd.ProcessState.ExitCode()})
}

// TestFailRBAC names the verb and the resource that are missing.
func TestFailRBAC(t *testing.T) {
	namespace := pods(t)
	name := func(s string) string { return strings.ReplaceAll(namespace, "test", s) }
	as := func(user string, args ...string) result {
		return kdiag(t, append([]string{"shell", "-n", namespace, "deploy/web", "--as=" + user}, args...)...)
	}
	// A user of its own for each step, so that none waits for another's role.
	role := func(user string, rules ...string) {
		kubectl(t, append([]string{"create", "role", "-n", namespace, user}, rules...)...)
		kubectl(t, "create", "rolebinding", "-n", namespace, user, "--role="+user, "--user="+user)
	}

	failure{1, "no right to get deployments.apps in namespace", `verb "get" on deployments.apps`}.check(t, "no rights at all", as(name("nobody")))

	reads := []string{"--verb=get,list,watch", "--resource=pods,deployments.apps"}
	role(name("reader"), reads...)
	failure{1, "no right to patch pods/ephemeralcontainers", `verb "patch" on pods/ephemeralcontainers`}.check(t, "no pods/ephemeralcontainers", as(name("reader")))

	// Rights to inject, but not to exec.
	kubectl(t, "create", "role", "-n", namespace, name("injecter"), "--verb=patch", "--resource=pods/ephemeralcontainers")
	kubectl(t, "create", "rolebinding", "-n", namespace, name("injecter"), "--role="+name("injecter"), "--user="+name("injecter"))
	kubectl(t, "create", "rolebinding", "-n", namespace, name("injecter")+"-reads", "--role="+name("reader"), "--user="+name("injecter"))
	failure{1, "no right to create pods/exec", `verb "create" on pods/exec`}.check(t, "no pods/exec", as(name("injecter"), "--", "-c", "true"))
}

// TestFailPodSecurity names the level, and what would pass.
func TestFailPodSecurity(t *testing.T) {
	namespace := newNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	failure{1, `violates PodSecurity "baseline:latest"`, "admitted here: --profile=baseline, --profile=restricted"}.check(t, "a profile that is refused",
		kdiag(t, "shell", "-n", namespace, "root", "--profile=setns"))
}

// TestFailNodeGone does not wait for a kubelet that has stopped.
func TestFailNodeGone(t *testing.T) {
	if shared.node == "" {
		t.Skip("the kubelet is ours to stop in the project's own cluster only")
	}

	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	if got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.code != 0 {
		t.Fatalf("shell before: %v", got)
	}

	cluster := func(args ...string) {
		t.Helper()
		if got := run(t, "", shared.env(), filepath.Join(shared.root, ".cluster/bin/cluster"), args...); got.code != 0 {
			t.Fatalf("cluster %q: %v", args, got)
		}
	}

	cluster("stop", "--kill", "kubelet")
	defer func() {
		cluster("start", "kubelet")
		eventually(t, "the node to be ready again", func() bool {
			return strings.Contains(kubectl(t, "get", "nodes", "--no-headers"), " Ready")
		})
	}()

	failure{1, "connection refused", ""}.check(t, "a shell container on a node that is gone", kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	eventually(t, "the node to be found gone", func() bool {
		return strings.Contains(kubectl(t, "get", "nodes", "--no-headers"), "NotReady")
	})
	failure{1, "is not ready: ", ""}.check(t, "a new container on a node that is gone",
		kdiag(t, "shell", "-n", namespace, "root", "--profile=baseline", "--", "-c", "true"))
}

// TestFailServer is an API server that cannot be reached, or does not answer.
func TestFailServer(t *testing.T) {
	silent := deaf(t, "127.0.0.1:0")
	failure{1, "connect: connection refused", "is the cluster up"}.check(t, "no server", kdiag(t, "shell", "web", "--server=https://127.0.0.1:1"))
	failure{1, "no answer within 2s", "--timeout"}.check(t, "a deaf server",
		kdiag(t, "shell", "web", "--server=https://127.0.0.1:"+silent, "--timeout=2s"))
	failure{1, "certificate", "--certificate-authority"}.check(t, "another authority",
		kdiag(t, "shell", "web", "--kubeconfig=/dev/null", "--server="+server(t).String(), "--token=x"))
	failure{1, "Unauthorized", "credentials"}.check(t, "a wrong token",
		kdiag(t, "shell", "web", "--kubeconfig=/dev/null", "--server="+server(t).String(), "--insecure-skip-tls-verify", "--token=x"))
}

// TestFailSessionCut ends a running command when the API server goes.
func TestFailSessionCut(t *testing.T) {
	namespace := pods(t)
	p, through := newProxy(t)
	cmd := exec.Command(shared.binary(), append([]string{"shell", "-n", namespace, "deploy/web"}, append(through, "--", "-c", "echo ready; sleep 1000")...)...)
	cmd.Env = shared.env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err = stdout.Read(make([]byte, 16)); err != nil {
		t.Fatalf("no word from the shell: %v, %s", err, stderr.String())
	}

	p.cut()
	_ = cmd.Wait()
	failure{1, "broke off", ""}.check(t, "the API server gone", result{"", stderr.String(), cmd.ProcessState.ExitCode()})
}
