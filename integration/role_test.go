package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/yaml"
)

// rule is one of a Role's.
type rule struct {
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// roleRules are the rules that "kdiag role" prints.
func roleRules(t *testing.T, args ...string) []rule {
	t.Helper()
	got := kdiag(t, append([]string{"role"}, args...)...)
	var role struct{ Rules []rule }
	if err := yaml.Unmarshal([]byte(got.stdout), &role); err != nil || got.code != 0 || len(role.Rules) == 0 {
		t.Fatalf("role %q: %v, %v, want a Role", args, err, got)
	}
	return role.Rules
}

// grantedBy are the rights that rules give, as "get deployments.apps".
func grantedBy(rules []rule) []string {
	var rights []string
	for _, r := range rules {
		for _, verb := range r.Verbs {
			resource, subresource, cut := strings.Cut(r.Resources[0], "/")
			if r.APIGroups[0] != "" {
				resource += "." + r.APIGroups[0]
			}
			if cut {
				resource += "/" + subresource
			}
			rights = append(rights, verb+" "+resource)
		}
	}

	return rights
}

// without are rules that lack one right.
func without(rules []rule, right string) []rule {
	var left []rule
	for _, r := range rules {
		var verbs []string
		for _, verb := range r.Verbs {
			if grantedBy([]rule{{r.APIGroups, r.Resources, []string{verb}}})[0] != right {
				verbs = append(verbs, verb)
			}
		}
		if len(verbs) > 0 {
			left = append(left, rule{r.APIGroups, r.Resources, verbs})
		}
	}

	return left
}

// bind gives a user a Role of their own, and waits until it counts.
func bind(t *testing.T, namespace, user string, rules []rule) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": map[string]any{"name": user}, "rules": rules},
		map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": map[string]any{"name": user},
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
			"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}}},
	}})
	if err != nil {
		t.Fatal(err)
	}

	apply(t, namespace, string(text))
	awaitRight(t, namespace, user, grantedBy(rules)[0])
}

// awaitRight waits until the API server knows of a user's right.
func awaitRight(t *testing.T, namespace, user, right string) {
	t.Helper()
	verb, resource, _ := strings.Cut(right, " ")
	resource, subresource, _ := strings.Cut(resource, "/")
	eventually(t, user+"'s right to "+right, func() bool {
		_, err := shared.kubectl(t.Context(), "", "auth", "can-i", verb, resource, "--subresource="+subresource, "-n", namespace, "--as="+user)
		return err == nil
	})
}

// newUser is the environment of a user who has no container anywhere yet.
func newUser(t *testing.T) []string {
	home := t.TempDir()
	return []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}
}

// untilLine runs a command that goes on for ever to its first line of output, and
// interrupts it then.
func untilLine(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shared.binary(), args...)
	cmd.Env = shared.env(env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	lines := bufio.NewScanner(stdout)
	first := ""
	for lines.Scan() {
		if first == "" {
			first = lines.Text()
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
	}

	_ = cmd.Wait()
	return result{first, stderr.String(), cmd.ProcessState.ExitCode()}
}

// roleCase is a command as one with its Role uses it.
type roleCase struct {
	command string
	flags   []string // of role
	// line uses the command on the pod POD, and works tells whether all of it was
	// to be had. A line that begins with + goes on until it is interrupted.
	line  string
	works func(result) bool
	// more are lines that use the optional rights which line does not. One that
	// begins with ! makes something ready, as the cluster's admin.
	more []string
}

// runLine runs a line on a pod, with more flags.
func runLine(t *testing.T, env []string, line, pod string, flags ...string) result {
	t.Helper()
	text, lasting := strings.CutPrefix(line, "+")
	args := strings.Fields(strings.ReplaceAll(text, "POD", pod))
	if at := slices.Index(args, "--"); at >= 0 {
		args = slices.Insert(args, at, flags...)
	} else {
		args = append(args, flags...)
	}

	if lasting {
		return untilLine(t, env, args...)
	}

	return kdiagWith(t, "", env, args...)
}

func succeeds(got result) bool { return got.code == 0 && !strings.Contains(got.stderr, "no right") }

func redirects(got result) bool { return strings.HasPrefix(got.stdout, "8080 → ") }

// doctorWorks has the checks of the pod come out; those on rights are for the
// other commands.
func doctorWorks(got result) bool {
	var document struct{ Checks []check }
	if json.Unmarshal([]byte(got.stdout), &document) != nil {
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

var roleCases = []roleCase{
	{"shell", nil, "shell POD -- -c echo", succeeds, []string{"shell nothere"}},
	{"shell", []string{"--kinds=deploy"}, "shell deploy/POD -- -c echo", succeeds, []string{"shell POD -- -c echo", "shell nothere"}},
	{"redir", nil, "+redir POD 8080", redirects, []string{"redir nothere", "+redir POD -c app"}},
	{"ps", nil, "ps POD", succeeds, []string{"ps POD --sockets"}},
	{"logs", nil, "logs POD --tail=1 --for=3s", succeeds, nil},
	{"logs", []string{"--kinds=svc"}, "logs svc/POD --tail=1 --for=3s", succeeds, []string{"logs POD --tail=1 --for=1s"}},
	{"manage", nil, "manage POD", succeeds, []string{"manage nothere"}},
	{"manage", []string{"--kinds=selector"}, "manage -l app=POD", succeeds, []string{"manage POD", "manage nothere"}},
	{"doctor", nil, "doctor POD -o json", doctorWorks, []string{"doctor -o json", "doctor nothere", "!+redir POD 8080", "doctor POD -o json"}},
}

// rolePod is a pod and what owns pods, all of the name.
const rolePod = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never}
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
  replicas: 0
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: app, image: x}]}
---
`

// rolePods is a namespace with a pod for each of the cases, "pod0" and so on.
func rolePods(t *testing.T) string {
	t.Helper()
	namespace := newNamespace(t)
	var manifests strings.Builder
	for i := range roleCases {
		manifests.WriteString(strings.ReplaceAll(rolePod, "NAME", fmt.Sprintf("pod%d", i)))
	}
	apply(t, namespace, manifests.String())
	waitForPods(t, namespace)
	return namespace
}

// TestRoleIsSufficientAndMinimal has each command work with the Role that is
// printed for it, and not without any one of its rights.
func TestRoleIsSufficientAndMinimal(t *testing.T) {
	namespace := rolePods(t)

	for i, c := range roleCases {
		t.Run(c.command+strings.Join(c.flags, ""), func(t *testing.T) {
			pod, user := fmt.Sprintf("pod%d", i), fmt.Sprintf("%s-%d", namespace, i)
			// As it is printed, by kubectl apply.
			printed := kdiag(t, append([]string{"role", c.command, "--name=" + user, "--user=" + user}, c.flags...)...)
			apply(t, namespace, printed.stdout)
			rules := roleRules(t, append([]string{c.command}, c.flags...)...)
			awaitRight(t, namespace, user, grantedBy(rules)[0])
			flags := []string{"-n", namespace, "--as=" + user}
			if got := runLine(t, newUser(t), c.line, pod, flags...); !c.works(got) {
				t.Errorf("%s with its Role: %v, want it to work\n%s", c.command, got, printed.stdout)
			}

			for j, right := range grantedBy(rules) {
				user := fmt.Sprintf("%s-%d-%d", namespace, i, j)
				bind(t, namespace, user, without(rules, right))
				line := c.line
				if right == "get pods" {
					// Every Role is for pods by name, whatever other kinds there are.
					line = byName.Replace(line)
				}

				got := runLine(t, newUser(t), line, pod, "-n", namespace, "--as="+user)
				if c.works(got) || !strings.Contains(got.stdout+got.stderr, "no right to "+right) {
					t.Errorf("%s without the right to %s: %v, want it not to work, and to say so", c.command, right, got)
				}
			}
		})
	}
}

// byName makes of a line for another kind of target one for a pod by its name.
var byName = strings.NewReplacer("deploy/POD", "POD", "svc/POD", "POD", "-l app=POD", "POD")

// TestRoleOptional has each optional right be used where it is there, and the
// command work where it is not; and no other right of the namespace be asked for.
func TestRoleOptional(t *testing.T) {
	namespace := rolePods(t)

	for i, c := range roleCases {
		t.Run(c.command+strings.Join(c.flags, ""), func(t *testing.T) {
			pod := fmt.Sprintf("pod%d", i)
			args := append([]string{c.command}, c.flags...)
			required := grantedBy(roleRules(t, args...))
			all := roleRules(t, append(args, "--optional")...)
			optional := slices.DeleteFunc(grantedBy(all), func(right string) bool { return slices.Contains(required, right) })

			use := func(user string, rules []rule) (allowed, refused []string) {
				bind(t, namespace, user, rules)
				through := newRecorder(t)
				flags := append([]string{"-n", namespace}, through.flags(user)...)
				env := newUser(t)
				if got := runLine(t, env, c.line, pod, flags...); !c.works(got) {
					t.Errorf("%s with the rights %q: %v, want it to work", c.command, grantedBy(rules), got)
				}

				for _, line := range c.more {
					if line, asAdmin := strings.CutPrefix(line, "!"); asAdmin {
						runLine(t, env, line, pod, "-n", namespace)
						continue
					}
					runLine(t, env, line, pod, flags...)
				}

				return through.rights()
			}

			used, _ := use(fmt.Sprintf("%s-%d-all", namespace, i), all)
			_, missed := use(fmt.Sprintf("%s-%d-required", namespace, i), roleRules(t, args...))
			for j, right := range optional {
				_, without := use(fmt.Sprintf("%s-%d-optional-%d", namespace, i, j), without(all, right))
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
