package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// crashingPods is a scratch pod whose application crashes, a Service and a Deployment that select it, one
// whose image cannot be pulled, and one with a volume of one writer.
const crashingPods = `
apiVersion: v1
kind: Service
metadata: {name: crash}
spec: {selector: {app: crash}, publishNotReadyAddresses: true, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: crash}
spec:
  replicas: 1
  selector: {matchLabels: {app: crash}}
  template:
    metadata: {labels: {app: crash}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1234, runAsNonRoot: true}
      volumes: [{name: data, emptyDir: {}}]
      containers:
      - name: app
        image: localhost/kdiag-sample:scratch
        imagePullPolicy: Never
        command: [/app]
        args: ["it's not $(WORD)"]
        env: [{name: WORD, value: an address}]
        volumeMounts: [{name: data, mountPath: /data}]
        livenessProbe: {tcpSocket: {port: 8080}}
---
apiVersion: v1
kind: Pod
metadata: {name: nopull}
spec:
  containers: [{name: app, image: "localhost:1/nothere:v1", command: [/app]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers: [{name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, command: [/app], volumeMounts: [{name: data, mountPath: /data}]}]
`

// createCrashingPods creates them, and waits until one has crashed.
func createCrashingPods(t *testing.T) (namespace string) {
	t.Helper()
	namespace = kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, crashingPods)
	kit.WaitUntil(t, "a pod that crashes", func() bool {
		return strings.Contains(listPods(t, namespace, "-l", "app=crash", "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}"), "1")
	})
	return namespace
}

func listPods(t *testing.T, namespace string, flags ...string) string {
	t.Helper()
	return strings.TrimSpace(kit.RunKubectl(t, append([]string{"get", "pods", "-n", namespace}, flags...)...))
}

// listOwnPods lists the pods that kdiag has made.
func listOwnPods(t *testing.T, namespace string) (names []string) {
	t.Helper()
	for name := range strings.FieldsSeq(listPods(t, namespace, "-o", "jsonpath={.items[*].metadata.name}")) {
		if strings.HasPrefix(name, "kdiag-") {
			names = append(names, name)
		}
	}
	return names
}

// waitForNoOwnPod waits until kdiag's pods are gone.
func waitForNoOwnPod(t *testing.T, namespace string) {
	t.Helper()
	kit.WaitUntil(t, "the end of kdiag's pods", func() bool { return len(listOwnPods(t, namespace)) == 0 })
}

// TestShellCopy has shells in copies of pods that do not run.
func TestShellCopy(t *testing.T) {
	namespace := createCrashingPods(t)
	t.Run("crashing", func(t *testing.T) { testCopyOfCrashingPod(t, namespace) })
	t.Run("interrupted", func(t *testing.T) { testInterruptedCopy(t, namespace) })
	t.Run("killed", func(t *testing.T) { testCopyOfKilledKdiag(t, namespace) })
	t.Run("few rights", func(t *testing.T) { testCopyWithFewRights(t, namespace) })
	t.Run("claims", func(t *testing.T) { testCopyOfClaims(t, namespace) })
}

// testCopyOfCrashingPod looks into a scratch pod that crashes, and runs its command by hand, while no
// Service and no controller sees the copy.
func testCopyOfCrashingPod(t *testing.T, namespace string) {
	shell := kit.StartKdiagWithStdin(t, "shell", "--copy", "-n", namespace, "rs/crash")
	shell.WriteStdin("id -u; pwd; echo \"$KDIAG_COMMAND\"; eval \"$KDIAG_COMMAND\"; echo code $?; touch /data/x && echo written; echo \"$WORD\"\n")
	shell.WaitForOutput("an address\n")
	want := "1234\n/data\n" + `/app 'it'\''s not an address'` + "\nlistening on it's not an address\n"
	for _, text := range []string{want, "code 1\nwritten\nan address\n"} {
		if !strings.Contains(shell.Stdout.String(), text) {
			t.Errorf("the shell printed %q, want %q", shell.Stdout.String(), text)
		}
	}

	own := listOwnPods(t, namespace)
	if len(own) != 1 || !strings.Contains(shell.Stderr.String(), "creating pod "+namespace+"/"+own[0]+", a copy of crash-") {
		t.Fatalf("pods %q, and the plan is %q", own, shell.Stderr)
	}
	const identity = "{.metadata.labels}{.metadata.ownerReferences}{.spec.containers[0].livenessProbe} {.spec.activeDeadlineSeconds} {.status.phase}"
	if got := kit.ReadPodField(t, namespace, own[0], identity); got != "3600 Running" {
		t.Errorf("the copy has %q, want no label, owner or probe, an hour, and that it runs", got)
	}
	address := kit.ReadPodField(t, namespace, own[0], "{.status.podIP}")
	kit.WaitUntil(t, "the Service's endpoints", func() bool { return listEndpoints(t, namespace) != "" })
	if got := listEndpoints(t, namespace); slices.Contains(strings.Fields(got), address) {
		t.Errorf("the Service has the copy's address %s: %s", address, got)
	}

	if got := shell.CloseStdin(); got.Code != 0 {
		t.Errorf("shell: %v", got)
	}
	waitForNoOwnPod(t, namespace)
}

func listEndpoints(t *testing.T, namespace string) string {
	t.Helper()
	return strings.TrimSpace(kit.RunKubectl(t, "get", "endpointslices", "-n", namespace, "-l", "kubernetes.io/service-name=crash", "-o", "jsonpath={.items[*].endpoints[*].addresses[*]}"))
}

// testCopyWithFewRights works for a user who may create pods and exec in them, and leaves a pod that has
// ended where the user may not delete it.
func testCopyWithFewRights(t *testing.T, namespace string) {
	user := namespace + "-user"
	kit.BindRole(t, namespace, user, []kit.RoleRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "create"}},
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}},
	})
	pod := listPods(t, namespace, "-l", "app=crash", "-o", "jsonpath={.items[0].metadata.name}")
	got := kit.RunKdiagWith(t, "", kit.CreateUser(t), "shell", "--copy", "-n", namespace, "--as="+user, pod, "--", "-c", "id -u; exit 7")
	if got.Code != 7 || got.Stdout != "1234\n" || !strings.Contains(got.Stderr, "has been ended, but stays listed") {
		t.Errorf("shell --copy: %v, want the container's user, code 7, and a word about the pod", got)
	}
	own := listOwnPods(t, namespace)
	if len(own) != 1 {
		t.Fatalf("pods %q, want one", own)
	}
	kit.WaitForPodField(t, namespace, own[0], "{.status.phase}", "Succeeded")

	got = kit.RunKdiagWith(t, "", kit.CreateUser(t), "shell", "--copy", "-n", namespace, "--as="+user, "writer")
	kit.ExpectFailure(1, "PersistentVolumeClaim data (access modes unknown) is in use by the pod", "--copy-claims=readonly").Verify(t, "a volume of an unknown kind", got)
}

// testCopyOfClaims says before anything is made what cannot work with a volume of one writer.
func testCopyOfClaims(t *testing.T, namespace string) {
	got := kit.RunKdiag(t, "shell", "--copy", "-n", namespace, "writer")
	kit.ExpectFailure(1, "data (ReadWriteOnce) is in use by the pod, and it has one writer", "--copy-claims=empty").Verify(t, "a volume of one writer", got)
	got = kit.RunKdiag(t, "shell", "--copy", "-n", namespace, "writer", "--copy-claims=empty", "--", "ls", "-d", "/data")
	if got.Code != 0 || got.Stdout != "/data\n" {
		t.Errorf("with an empty volume instead: %v", got)
	}
}

// testInterruptedCopy leaves nothing behind when Ctrl-C comes while the image is pulled.
func testInterruptedCopy(t *testing.T, namespace string) {
	shell := kit.StartKdiag(t, "shell", "--copy", "-n", namespace, "nopull")
	shell.WaitForOutput("waiting for the kubelet to retry")
	if own := listOwnPods(t, namespace); len(own) != 1 {
		t.Errorf("pods %q, want one", own)
	}
	if got := shell.Interrupt(); got.Code != 130 {
		t.Errorf("interrupted: %v, want code 130", got)
	}
	waitForNoOwnPod(t, namespace)
}

// testCopyOfKilledKdiag has the copy deleted after kill -9 by the guard, and ended by the deadline where that
// was killed as well.
func testCopyOfKilledKdiag(t *testing.T, namespace string) {
	shell := kit.StartKdiagWithStdin(t, "shell", "--copy", "-n", namespace, "rs/crash")
	shell.WriteStdin("echo is $((40+2))\n")
	shell.WaitForOutput("is 42\n")
	shell.Signal(syscall.SIGKILL)
	waitForNoOwnPod(t, namespace)

	shell = kit.StartKdiagWithStdin(t, "shell", "--copy", "-n", namespace, "rs/crash", "--deadline=8s")
	shell.WriteStdin("echo is $((40+2))\n")
	shell.WaitForOutput("is 42\n")
	guards := findChildren(t, shell.PID())
	if len(guards) != 1 {
		t.Fatalf("kdiag has the children %d, want the guard", guards)
	}
	for _, pid := range append(guards, shell.PID()) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	left := listOwnPods(t, namespace)[0]
	kit.WaitForPodField(t, namespace, left, "{.status.phase} {.status.reason}", "Failed DeadlineExceeded")
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, left)
}

// findChildren returns the processes whose parent is pid.
func findChildren(t *testing.T, pid int) (children []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for word := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
	}
	return children
}

// TestShellOnNode has root's shell on a node, and none where the namespace does not admit it.
func TestShellOnNode(t *testing.T) {
	node := firstNode(t)
	namespace := kit.CreateNamespace(t)
	got := kit.RunKdiag(t, "shell", "node/"+node, "-n", namespace, "--", "-c", `id -u; test -d /proc/1 && grep -c kubelet /proc/[0-9]*/cmdline | grep -qv ':0$' && echo sees; test -e /kdiag || echo out; exit 3`)
	if got.Code != 3 || got.Stdout != "0\nsees\nout\n" || !strings.Contains(got.Stderr, "creating privileged pod "+namespace+"/kdiag-node-") {
		t.Errorf("shell node/%s: %v, want root, the node's processes and files, and code 3", node, got)
	}
	waitForNoOwnPod(t, namespace)

	got = kit.RunKdiag(t, "shell", "node/nothere", "-n", namespace)
	kit.ExpectFailure(1, "read node nothere: ", "").Verify(t, "no such node", got)

	policed := kit.CreateNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	got = kit.RunKdiag(t, "shell", "node/"+node, "-n", policed, "-q")
	kit.ExpectFailure(1, `violates PodSecurity "baseline:latest"`, "choose one that does with -n").Verify(t, "a baseline namespace", got)
	if own := listOwnPods(t, policed); len(own) != 0 {
		t.Errorf("pods %q, want none", own)
	}

	report := kit.RunDoctor(t, "-n", policed)
	report.Verify(t, "shell node/NAME", "unknown", "violates PodSecurity", "choose one that does with -n")
	report = kit.RunDoctor(t, "-n", namespace)
	report.Verify(t, "shell node/NAME", "ok", "a privileged pod is admitted", "")
	report.Verify(t, "shell --copy", "ok", "create pods", "")
}
