package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"

	"sigs.k8s.io/yaml"
)

// printRoleRules returns the rules that "kdiag role" prints.
func printRoleRules(t *testing.T, args ...string) []kit.RoleRule {
	t.Helper()
	got := kit.RunKdiag(t, append([]string{"role"}, args...)...)
	var role struct{ Rules []kit.RoleRule }
	if err := yaml.Unmarshal([]byte(got.Stdout), &role); err != nil || got.Code != 0 || len(role.Rules) == 0 {
		t.Fatalf("role %q: %v, %v, want a Role", args, err, got)
	}
	return role.Rules
}

// removeRight returns rules without one right.
func removeRight(rules []kit.RoleRule, right string) []kit.RoleRule {
	var left []kit.RoleRule
	for _, r := range rules {
		var verbs []string
		for _, verb := range r.Verbs {
			if kit.ListRights([]kit.RoleRule{{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: []string{verb}}})[0] != right {
				verbs = append(verbs, verb)
			}
		}
		if len(verbs) > 0 {
			left = append(left, kit.RoleRule{APIGroups: r.APIGroups, Resources: r.Resources, Verbs: verbs})
		}
	}

	return left
}

// runUntilLine runs a command that does not end by itself, unless it fails, and
// interrupts it once it redirects.
func runUntilLine(t *testing.T, env []string, args ...string) kit.Result {
	t.Helper()
	command := kit.StartKdiagWith(t, env, args...)
	kit.WaitUntil(t, "a redirect, or the end", func() bool {
		return strings.Contains(command.Stdout.String(), "→") || command.HasEnded()
	})
	return command.Interrupt()
}

// roleCase describes how a user with the Role of a command uses it.
type roleCase struct {
	command string
	flags   []string // of role
	// line runs the command on the pod POD. One that begins with + does not end by
	// itself.
	line string
	// works tells whether everything that the line asked for was there.
	works func(kit.Result) bool
	// more lists lines that use the optional rights which line does not. One that
	// begins with ! prepares something, as the cluster's admin.
	more []string
}

// runLine runs a line of a case on a pod, with more flags.
func runLine(t *testing.T, env []string, line, pod string, flags ...string) kit.Result {
	t.Helper()
	text, lasting := strings.CutPrefix(line, "+")
	if strings.Contains(text, "NODE") {
		text = strings.ReplaceAll(text, "NODE", firstNode(t))
	}
	args := strings.Fields(strings.ReplaceAll(text, "POD", pod))
	if at := slices.Index(args, "--"); at >= 0 {
		args = slices.Insert(args, at, flags...)
	} else {
		args = append(args, flags...)
	}

	if lasting {
		return runUntilLine(t, env, args...)
	}

	return kit.RunKdiagWith(t, "", env, args...)
}

// firstNode returns the name of a node.
func firstNode(t *testing.T) string {
	t.Helper()
	return strings.Fields(kit.RunKubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))[0]
}

// succeeds tells whether a command lacked no right.
func succeeds(got kit.Result) bool {
	return got.Code == 0 && !strings.Contains(got.Stderr, "not allowed")
}

// captures tells whether a capture has ended well. Without the right to read logs it is noted that
// kdiag's own connections are captured, too.
func captures(got kit.Result) bool {
	return got.Code == 0 && strings.Contains(got.Stderr, "dropped by the kernel")
}

// redirects tells whether redir redirects port 8080.
func redirects(got kit.Result) bool { return strings.Contains(got.Stdout, "\n8080 → ") }

// doctorWorks tells whether the checks of the pod passed. Those of rights are about
// the other commands.
func doctorWorks(got kit.Result) bool {
	var document struct{ Checks []kit.DoctorCheck }
	if json.Unmarshal([]byte(got.Stdout), &document) != nil {
		return false
	}

	well := 0
	for _, c := range document.Checks {
		if c.Status == "ok" && slices.Contains([]string{"target", "streams", "pod security: shell", "pod security: redir"}, c.Name) {
			well++
		}
	}

	return well == 4
}

// roleCases lists every command that needs rights, with the flags that change them.
var roleCases = []roleCase{
	{"shell", nil, "shell POD -- -c echo", succeeds, []string{"shell nothere", "shell stopped"}},
	{"shell", []string{"--kinds=deploy"}, "shell deploy/POD -- -c echo", succeeds, []string{"shell POD -- -c echo", "shell nothere", "shell stopped"}},
	{"redir", nil, "+redir POD 8080", redirects, []string{"redir nothere", "+redir POD -c app", "+redir POD --outgoing POD:80"}},
	{"ps", nil, "ps POD", succeeds, []string{"ps POD --sockets", "ps stopped"}},
	{"cp", nil, "cp POD:/etc/hosts -", succeeds, []string{"cp nothere:/etc/hosts -", "cp stopped:/etc/hosts -"}},
	{"env", nil, "env POD", succeeds, []string{"env nothere", "env stopped"}},
	// The containers go before the pod has too many users': two for each are more than it has memory for.
	{"capture", nil, "capture POD -i lo --for 100ms --idle-timeout=10s", captures,
		[]string{"capture nothere", "!+redir POD 8080 --idle-timeout=10s", "capture POD -i lo --for 100ms --names --idle-timeout=10s"}},
	{"logs", nil, "logs POD --tail=1 --for=3s", succeeds, nil},
	{"logs", []string{"--kinds=svc"}, "logs svc/POD --tail=1 --for=3s", succeeds, []string{"logs POD --tail=1 --for=1s"}},
	{"manage", nil, "manage POD", succeeds, []string{"manage nothere", "manage stopped"}},
	{"manage", []string{"--kinds=selector"}, "manage -l app=POD", succeeds, []string{"manage POD", "manage nothere", "manage stopped"}},
	{"shell-copy", nil, "shell --copy POD -- -c echo", succeeds, []string{"shell --copy nothere", "shell --copy POD-writer"}},
	{"shell-node", nil, "shell node/NODE -- -c echo", succeeds, nil},
	{"doctor", nil, "doctor POD -o json", doctorWorks, []string{"doctor -o json", "doctor nothere", "!+redir POD 8080", "doctor POD -o json"}},
}

// rolePod describes a pod, and what selects pods, all with the same name.
const rolePod = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME, pod-template-hash: "1"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  # kdiag asks what a pod with little memory uses of it.
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, resources: {limits: {memory: 63Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {selector: {app: NAME}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  paused: true
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: x}]}
---
`

// stoppedPod describes a pod whose container has ended.
const stoppedPod = `
apiVersion: v1
kind: Pod
metadata: {name: stopped}
spec:
  restartPolicy: Never
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, args: ["not an address"]}
`

// writerPod waits for a volume that it does not get.
const writerPod = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME}
spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  volumes: [{name: data, persistentVolumeClaim: {claimName: NAME}}]
  containers: [{name: app, image: x, command: [x], volumeMounts: [{name: data, mountPath: /data}]}]
`

// createRolePods creates a namespace with a pod for each case, "pod0" and so on.
func createRolePods(t *testing.T) string {
	t.Helper()
	namespace := kit.CreateNamespace(t)
	var manifests strings.Builder
	for i := range roleCases {
		manifests.WriteString(strings.ReplaceAll(rolePod, "NAME", fmt.Sprintf("pod%d", i)))
	}

	kit.AddPods(t, namespace, manifests.String())
	kit.ApplyManifest(t, namespace, stoppedPod)
	kit.WaitForPodField(t, namespace, "stopped", "{.status.phase}", "Failed")
	for i, c := range roleCases {
		if strings.Contains(c.line, "deploy/") {
			adoptPod(t, namespace, fmt.Sprintf("pod%d", i))
		}
		if c.command == "shell-copy" {
			kit.ApplyManifest(t, namespace, strings.ReplaceAll(writerPod, "NAME", fmt.Sprintf("pod%d-writer", i)))
		}
	}
	return namespace
}

// adoptPod gives a pod to the Deployment of its name, by a ReplicaSet that finds it by its labels.
func adoptPod(t *testing.T, namespace, name string) {
	t.Helper()
	owner := strings.TrimSpace(kit.RunKubectl(t, "get", "deployment", "-n", namespace, name, "-o", "jsonpath={.metadata.uid}"))
	kit.ApplyManifest(t, namespace, fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: %[1]s-1
  labels: {app: %[1]s}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: %[1]s, uid: %[2]s, controller: true}]
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: x}]}
`, name, owner))
	kit.WaitForPodField(t, namespace, name, "{.metadata.ownerReferences[0].kind}", "ReplicaSet")
}

// TestRoleIsSufficientAndMinimal has each command work with the Role that "kdiag
// role" prints for it, and fail without any one of its rights.
func TestRoleIsSufficientAndMinimal(t *testing.T) {
	namespace := createRolePods(t)

	for i, c := range roleCases {
		t.Run(c.command+strings.Join(c.flags, ""), func(t *testing.T) {
			t.Parallel()
			pod, user := fmt.Sprintf("pod%d", i), fmt.Sprintf("%s-%d", namespace, i)
			// kubectl applies it as it is printed.
			printed := kit.RunKdiag(t, append([]string{"role", c.command, "--name=" + user, "--user=" + user}, c.flags...)...)
			kit.ApplyManifest(t, namespace, printed.Stdout)
			rules := printRoleRules(t, append([]string{c.command}, c.flags...)...)
			kit.WaitForRight(t, namespace, user, kit.ListRights(rules)[0])

			flags := []string{"-n", namespace, "--as=" + user}
			if got := runLine(t, kit.CreateUser(t), c.line, pod, flags...); !c.works(got) {
				t.Errorf("%s with its Role: %v, want it to work\n%s", c.command, got, printed.Stdout)
			}

			for j, right := range kit.ListRights(rules) {
				user := fmt.Sprintf("%s-%d-%d", namespace, i, j)
				kit.BindRole(t, namespace, user, removeRight(rules, right))

				line := c.line
				if right == "get pods" {
					// Every Role is for pods by name, whatever other kinds it has.
					line = byName.Replace(line)
				}

				got := runLine(t, kit.CreateUser(t), line, pod, "-n", namespace, "--as="+user)
				if c.works(got) || !strings.Contains(got.Stdout+got.Stderr, "not allowed to "+right) {
					t.Errorf("%s without the right to %s: %v, want it not to work, and to say so", c.command, right, got)
				}
			}
		})
	}
}

// byName replaces any other kind of target in a line by a pod's name.
var byName = strings.NewReplacer("deploy/POD", "POD", "svc/POD", "POD", "-l app=POD", "POD")

// TestRoleOptional has each command use an optional right if it is there, and work
// if it is not. It asks for no right that its Role does not name.
func TestRoleOptional(t *testing.T) {
	namespace := createRolePods(t)

	for i, c := range roleCases {
		t.Run(c.command+strings.Join(c.flags, ""), func(t *testing.T) {
			t.Parallel()
			pod := fmt.Sprintf("pod%d", i)
			args := append([]string{c.command}, c.flags...)
			required := kit.ListRights(printRoleRules(t, args...))
			all := printRoleRules(t, append(args, "--optional")...)
			optional := slices.DeleteFunc(kit.ListRights(all), func(right string) bool { return slices.Contains(required, right) })

			use := func(user string, rules []kit.RoleRule) (allowed, refused []string) {
				kit.BindRole(t, namespace, user, rules)
				recorder := kit.StartRightsRecorder(t)
				flags := append([]string{"-n", namespace}, recorder.Flags(user)...)
				env := kit.CreateUser(t)
				if got := runLine(t, env, c.line, pod, flags...); !c.works(got) {
					t.Errorf("%s with the rights %q: %v, want it to work", c.command, kit.ListRights(rules), got)
				}

				for _, line := range c.more {
					if line, asAdmin := strings.CutPrefix(line, "!"); asAdmin {
						runLine(t, env, line, pod, "-n", namespace)
						continue
					}
					runLine(t, env, line, pod, flags...)
				}

				return recorder.UsedRights()
			}

			used, _ := use(fmt.Sprintf("%s-%d-all", namespace, i), all)
			_, missed := use(fmt.Sprintf("%s-%d-required", namespace, i), printRoleRules(t, args...))
			for j, right := range optional {
				_, without := use(fmt.Sprintf("%s-%d-optional-%d", namespace, i, j), removeRight(all, right))
				if !slices.Contains(used, right) || !slices.Contains(without, right) {
					t.Errorf("%s: the optional right to %s: used where it is there: %v, asked for where it is not: %v, want both",
						c.command, right, slices.Contains(used, right), slices.Contains(without, right))
				}
			}

			for _, right := range slices.Concat(used, missed) {
				if !slices.Contains(required, right) && !slices.Contains(optional, right) {
					t.Errorf("%s uses the right to %s, which its Role does not name", c.command, right)
				}
			}
		})
	}
}

// TestFailRBAC names the verb and the resource of the right that is missing.
func TestFailRBAC(t *testing.T) {
	// A pod of its own: where a container is there already, not allowed to add one is
	// needed.
	namespace := kit.CreateRootPod(t)
	name := func(s string) string { return strings.ReplaceAll(namespace, "test", s) }
	shellAs := func(user, target string) kit.Result {
		return kit.RunKdiag(t, "shell", "-n", namespace, target, "--as="+user, "--", "-c", "true")
	}

	// Each step has a user of its own, so that none waits for another's role.
	kit.ExpectFailure(1, "not allowed to get deployments.apps in namespace", `verb "get" on deployments.apps`).Verify(t, "no rights at all", shellAs(name("nobody"), "deploy/web"))

	kit.CreateRole(t, namespace, name("reader"), name("reader"), "--verb=get,list,watch", "--resource=pods")
	kit.ExpectFailure(1, "not allowed to patch pods/ephemeralcontainers", `verb "patch" on pods/ephemeralcontainers`).Verify(t, "no pods/ephemeralcontainers", shellAs(name("reader"), "root"))

	// Rights to inject, but not to exec.
	kit.CreateRole(t, namespace, name("injecter"), name("injecter"), "--verb=patch", "--resource=pods/ephemeralcontainers")
	kit.RunKubectl(t, "create", "rolebinding", "-n", namespace, name("injecter")+"-reads", "--role="+name("reader"), "--user="+name("injecter"))
	kit.ExpectFailure(1, "not allowed to create pods/exec", `verb "create" on pods/exec`).Verify(t, "no pods/exec", shellAs(name("injecter"), "root"))
}
