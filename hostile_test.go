package main

import (
	"net/http"
	"strings"
	"testing"

	"kdiag/integration/testenv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hostile is what a pod or a cluster might say to take over a terminal: it clears the
// screen, sets the title, and hides and reverses what follows.
const hostile = " EVIL\x1b[2J\x1b]0;x\x07\u009b2J\x7f\r\n\t\u202eturned\u2066\u2028\u200b\b\x00"

// TestHostileCluster puts escape sequences into every text that an API server, a
// kubelet and a pod can send, and lets each command fail and succeed with them.
func TestHostileCluster(t *testing.T) {
	failWith := func(code int, path string) func(*fakeAPI) {
		return func(a *fakeAPI) {
			a.failureCode = func(r *http.Request) int {
				if strings.HasSuffix(r.URL.Path, path) {
					return code
				}
				return 0
			}
		}
	}

	failAll := func(code int) func(*fakeAPI) { return failWith(code, "") }
	waiting := func(a *fakeAPI) {
		a.started = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "Err" + hostile, Message: "cannot" + hostile}}
	}
	ended := func(a *fakeAPI) {
		a.started = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error" + hostile, Message: "its last words" + hostile}}
	}
	event := func(reason string) func(*fakeAPI) {
		return func(a *fakeAPI) {
			a.started = corev1.ContainerState{}
			a.events = []corev1.Event{{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}, Reason: reason, Message: "the kubelet" + hostile,
			}}
		}
	}

	notRunning := func(a *fakeAPI) {
		a.pod.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "r" + hostile, Message: "m" + hostile}}
	}
	page := func(code int) func(*fakeAPI) {
		return func(a *fakeAPI) {
			failAll(code)(a)
			a.notKubernetes = true
		}
	}

	deniedFor := func(path string) func(*fakeAPI) {
		return func(a *fakeAPI) {
			failWith(403, path)(a)
			a.denied = true
		}
	}

	exited := func(a *fakeAPI) {
		a.stderr = "note: x" + hostile + "\nkdiag: said" + hostile + "\nhint: try" + hostile + "\n"
		a.failure = &metav1.Status{Status: "Failure", Reason: "NonZeroExitCode", Message: "m" + hostile,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: "1"}}}}
	}

	broken := func(a *fakeAPI) {
		a.failure = &metav1.Status{Status: "Failure", Reason: "InternalError", Message: "runtime" + hostile}
	}
	seen := func(a *fakeAPI) {
		a.stdout = `{"time":"2026-01-02T03:04:05Z","processes":[{"pid":1,"user":"u\u001b[2J","state":"\u009b","name":"n\u0007","command":["EVIL\u001b]0;x\u0007","\u202e\u007f"]}],` +
			`"sockets":[{"protocol":"unix","state":"LISTEN","local":"@ EVIL\u001b[2J\n","pids":[1]},{"protocol":"tcp","state":"ESTABLISHED","local":"10.0.0.1:1","remote":"10.0.0.2:2","pids":[1]}],"hidden":{"processes":[{"reason":"EVIL\u001b","count":1}],"sockets":1},"cut":["EVIL\u009b"]}` + "\n"
	}

	becomeNewUser(t)
	for _, c := range []struct {
		name, args string
		// want is what comes right before the cluster's own words.
		want  string
		setup func(*fakeAPI)
	}{
		{"shell, the pod refused", "shell web", "find pod web: refused", failAll(500)},
		{"shell, may not read the pod", "shell web", "in namespace \"default\": refused", deniedFor("/pods/web")},
		{"shell, no credentials", "shell web", "no credentials: refused", failAll(401)},
		{"shell, no such pod", "shell web", "pods in namespace \"default\": web", failWith(404, "/pods/web")},
		{"shell, a page instead of an answer", "shell web", "<p>page", page(502)},
		{"shell, a page for a bad request", "shell web", "<p>page", page(400)},
		{"shell, no such container", "shell web -c nothere", "containers in this pod: app", nil},
		{"shell, several containers", "shell web -- -c true", "also has: other", nil},
		{"shell, the target waits", "shell web", "it is waiting: r", notRunning},
		{"shell, the pod is unschedulable", "shell web", "not scheduled: r", func(a *fakeAPI) {
			a.pod.Status = corev1.PodStatus{Phase: "Pending", Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: "False", Reason: "r" + hostile, Message: "m" + hostile}}}
		}},
		{"shell, refused by admission", "shell web", "refused", failWith(403, "/ephemeralcontainers")},
		{"shell, invalid", "shell web", "refused", failWith(422, "/ephemeralcontainers")},
		{"shell, refused by a webhook", "shell web", "refused", failWith(400, "/ephemeralcontainers")},
		{"shell, may not add containers", "shell web", "refused", deniedFor("/ephemeralcontainers")},
		{"shell, the container waits", "shell web", "cannot", waiting},
		{"shell, the container has ended", "shell web", "its last words", ended},
		{"shell, a failure in an event", "shell web --timeout=10s", "the kubelet", event("Failed")},
		{"shell, the exec refused", "shell web", "refused", failWith(500, "/exec")},
		{"shell, may not exec", "shell web", "refused", deniedFor("/exec")},
		{"shell, the runtime fails", "shell web -- -c true", "connection lost: runtime", broken},
		{"shell by selector, none", "shell -l app=x", "refused", failWith(403, "/pods")},
		{"shell of a missing deployment", "shell deploy/web", "refused", failWith(404, "/deployments/web")},
		{"manage", "manage web", "kdiag-shell-app", nil},
		{"manage, the container waits", "manage web", "cannot", waiting},
		{"ps", "ps web", "unix   @", seen},
		{"ps wide, with peers", "ps web --sockets -o wide", "shown by address only: list services: refused", func(a *fakeAPI) {
			seen(a)
			a.failureCode = func(r *http.Request) int {
				if strings.HasSuffix(r.URL.Path, "/services") {
					return 500
				}
				return 0
			}
		}},
		{"ps as JSON", "ps web -o json", "\"pod\": \"web", seen},
		{"ps, inspect fails", "ps web", "said", exited},
		{"ps, no snapshot", "ps web", "read the snapshot of container app", func(a *fakeAPI) { a.stdout = hostile + "\n" }},
		{"redir, the container waits", "redir web 8080", "cannot", waiting},
		{"redir, refused", "redir web 8080", "refused", failWith(403, "/ephemeralcontainers")},
		{"redir, the manager says something else", "redir web 8080", "listens: \"{", func(a *fakeAPI) { a.log = "{" + strings.ReplaceAll(hostile, "\n", "") + "}\n" }},
		{"redir, the manager's last words", "redir web 8080", "kdiag: no", func(a *fakeAPI) { a.log = "kdiag: no" + hostile + "\n" }},
		{"redir, no port-forward", "redir web 8080", "refused", func(a *fakeAPI) {
			failWith(500, "/portforward")(a)
			a.log = `{"role":"net","protocol":2,"door":1234,"key":"` + strings.Repeat("a", 64) + `"}` + "\n"
		}},
		{"redir -c, no such container", "redir web -c nothere", "containers in this pod: app", nil},
		{"logs", "logs web --follow=false", "web", nil},
		{"logs as JSON", "logs web --follow=false -o json", "\"pod\":\"web", nil},
		{"logs by template", "logs web --follow=false --template={{.Pod}}{{.Container}}{{.Node}}{{.Pod|json}}", "web", nil},
		{"logs, refused", "logs web", "refused", failWith(403, "/log")},
		{"logs, may not read", "logs web", "refused", deniedFor("/log")},
		{"logs, no such pod", "logs web", "refused", failAll(404)},
		{"logs, no such container", "logs web -c nothere", "containers in this pod: app", nil},
		{"logs, the kubelet's own words", "logs web --follow=false", "unable to retrieve", func(a *fakeAPI) { a.log = "unable to retrieve" + hostile + "\n" }},
		{"logs, a line that fails", "logs web --follow=false --fail-on EVIL --logs-to /dev/null", "line", func(a *fakeAPI) {
			a.log = "2026-01-02T03:04:05.000000001Z line" + strings.ReplaceAll(hostile, "\n", "") + "\n"
		}},
		{"doctor", "doctor", "accepted as me", nil},
		{"doctor with a target", "doctor web", "on node node", nil},
		{"doctor as JSON", "doctor web -o json", "accepted as me", nil},
		{"doctor's target as JSON", "doctor web -o json", "\"pod\": \"web", nil},
		{"doctor, all refused", "doctor web", "<p>page", page(403)},
		{"doctor, rights not told", "doctor web", "refused", failWith(422, "/selfsubjectaccessreviews")},
		{"doctor, the image cannot be had", "doctor web", "is waiting: r", func(a *fakeAPI) {
			a.pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "x" + hostile, Image: buildImage}}}
			a.pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "x" + hostile, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "r" + hostile}}}}
		}},
		{"version", "version web", "v1.37.0", nil},
		{"version as JSON", "version web -o json", "v1.37.0", nil},
		{"version's target as JSON", "version web -o json", "\"pod\": \"web", nil},
		{"version, refused", "version web", "<p>page", page(500)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			api := newFakeAPI(t, hostile)
			if c.setup != nil {
				c.setup(api)
			}

			code, stdout, stderr := api.runKdiag(strings.Split(c.args, " ")...)
			testenv.VerifyPrintable(t, "stdout", stdout)
			testenv.VerifyPrintable(t, "stderr", stderr)
			if !strings.Contains(stdout+stderr, c.want+" EVIL") {
				t.Errorf("code %d, stdout %q, stderr %q, want the cluster's own words right after %q", code, stdout, stderr, c.want)
			}
		})
	}
}

// TestHostileCompletion checks that completion proposes no word with unprintable
// characters, and nothing else that a terminal would obey.
func TestHostileCompletion(t *testing.T) {
	becomeNewUser(t)
	for _, line := range []string{"shell|", "logs|-l|", "shell|-c|", "redir|web|", "shell|-n|", "shell|deploy/"} {
		api := newFakeAPI(t, hostile)
		args := strings.Split(line, "|")
		words := append([]string{"__complete", args[0]}, api.connectionFlags()...)
		var out, errs strings.Builder
		run(append(append([]string{"kdiag"}, words...), args[1:]...), strings.NewReader(""), &out, &errs)

		testenv.VerifyPrintable(t, "completion of "+line, strings.ReplaceAll(out.String(), "\t", ""))
		testenv.VerifyPrintable(t, "stderr", errs.String())
		if strings.Contains(out.String(), "web EVIL") {
			t.Errorf("completion of %s = %q, want only printable words", line, out.String())
		}
	}
}
