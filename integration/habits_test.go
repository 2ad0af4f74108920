package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestGetAlone runs every command on a pod as a user who may get that one pod, and neither list nor
// watch any.
func TestGetAlone(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	user := namespace + "-one"
	kit.CreateRole(t, namespace, "one", user, "--verb=get", "--resource=pods,pods/log", "--resource-name=root")
	kit.CreateRole(t, namespace, "streams", user, "--verb=create", "--resource=pods/exec,pods/portforward", "--resource-name=root")
	kit.CreateRole(t, namespace, "add", user, "--verb=patch", "--resource=pods/ephemeralcontainers", "--resource-name=root")
	kit.WaitUntil(t, user+"'s right to add a container", func() bool {
		_, err := kit.TryKubectl(t.Context(), "", "auth", "can-i", "patch", "pods/root", "--subresource=ephemeralcontainers", "-n", namespace, "--as="+user)
		return err == nil
	})

	env := kit.CreateUser(t)
	for _, line := range []string{
		"shell root -- true", "shell root --image-pull-policy=Never -- true", "ps root", "manage root",
		"logs root --tail=1 --for=1s", "logs root --follow=false", "+redir root 8080",
	} {
		got := runLine(t, env, line, "root", "-n", namespace, "--as="+user)
		if got.Code != 0 || strings.Contains(got.Stderr, "not allowed") || strings.Contains(got.Stderr, "forbidden") {
			t.Errorf("%s: %v, want it to work without a word on rights", line, got)
		}
	}

	report := kit.RunDoctor(t, "-n", namespace, "root", "--as="+user)
	for _, check := range []string{"rights: shell", "rights: redir", "rights: logs", "target"} {
		report.Verify(t, check, "ok", "", "")
	}
}

// inPod is a pod that runs kdiag itself, by the service account that it has.
const inPod = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: laptop}
rules:
- {apiGroups: [""], resources: [pods, pods/log], verbs: [get]}
- {apiGroups: [""], resources: [pods/exec], verbs: [create]}
- {apiGroups: [""], resources: [pods/ephemeralcontainers], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: laptop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: laptop}
subjects: [{kind: ServiceAccount, name: default}]
---
apiVersion: v1
kind: Pod
metadata: {name: laptop}
spec:
  restartPolicy: OnFailure # the Role may be known a moment late
  terminationGracePeriodSeconds: 1
  containers:
  - name: kdiag
    image: REF
    imagePullPolicy: Never
    command: [/kdiag, shell, root, --request-timeout=20s, --, cat, /proc/1/cmdline]
    env:
    - {name: KDIAG_IMAGE, value: REF}
    - {name: HOME, value: /tmp}
    # A cluster without Services has no address that leads to the API server.
    - {name: KUBERNETES_SERVICE_HOST, value: "ADDRESS"}
    - {name: KUBERNETES_SERVICE_PORT, value: "NUMBER"}
`

// TestServiceAccountOfPod runs kdiag in a pod without a kubeconfig: it uses the service account, in its
// namespace.
func TestServiceAccountOfPod(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	endpoint := func(field string) string {
		return kit.RunKubectl(t, "get", "endpointslices", "-n", "default", "kubernetes", "-o", "jsonpath={"+field+"}")
	}
	kit.ApplyManifest(t, namespace, strings.NewReplacer("REF", kit.ImageUnderTest(),
		"ADDRESS", endpoint(".endpoints[0].addresses[0]"), "NUMBER", endpoint(".ports[0].port")).Replace(inPod))
	kit.WaitForPodField(t, namespace, "laptop", "{.status.phase}", "Succeeded")
	if got := kit.RunKubectl(t, "logs", "-n", namespace, "laptop"); !strings.Contains(got, "/app") {
		t.Errorf("kdiag in a pod printed %q, want the command line of the target", got)
	}
}

// TestCommandAfterDashes runs a command with its arguments as they are, on a terminal and off it, and
// leaves the rest to ash.
func TestCommandAfterDashes(t *testing.T) {
	target := []string{"-n", kit.SharedPods(t), "deploy/web"}
	for _, c := range []struct {
		words []string
		want  kit.Result
	}{
		{[]string{"printf", "%s|", "a b", "$x", "", "*", ";"}, kit.Result{Stdout: "a b|$x||*|;|"}},
		{[]string{"-c", "echo $((6*7)); exit 5"}, kit.Result{Stdout: "42\n", Code: 5}},
		{[]string{"sh", "-c", "exit 6"}, kit.Result{Code: 6}},
		{[]string{"nothing-like-it", "-x"}, kit.Result{Stderr: "kdiag: nothing-like-it: not found\n", Code: 127}},
		{[]string{"test", "-f", "/app"}, kit.Result{}},
	} {
		args := append(append([]string{"shell", "-q"}, target...), "--")
		got := kit.RunKdiag(t, append(args, c.words...)...)
		if got != c.want {
			t.Errorf("-- %q: %v, want %v", c.words, got, c.want)
		}
	}

	got := kit.RunKdiagWith(t, "typed\n", nil, append([]string{"shell", "-it", "-q"}, append(target, "--", "cat")...)...)
	if got.Stdout != "typed\n" || got.Code != 0 {
		t.Errorf("-it without a terminal: %v, want what stdin had", got)
	}
	got = kit.RunKdiagWith(t, "typed\n", nil, append([]string{"shell", "-i=false", "-q"}, append(target, "--", "cat")...)...)
	if got.Stdout != "" || got.Code != 0 {
		t.Errorf("-i=false: %v, want nothing of stdin", got)
	}
}
