package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// jobsManifest describes a Job that succeeds after some seconds, and one that fails.
const jobsManifest = `
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "30", "-rate", "10", "-exit"]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-no-such-flag"]}
---
`

// TestLogsOfJob follows a Job until it has ended, with the exit code that the Job has, and shows the log of
// one that is over at once.
func TestLogsOfJob(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, jobsManifest)
	for _, c := range []struct {
		line   string
		code   int
		says   string
		ending string // of the last line on stdout
	}{
		// All of the log is there, whatever of it was written before the start.
		{"job/good --tail=-1", 0, "note: job/good has completed\n", " 30\n"},
		{"job/good", 0, "note: job/good has completed\n", " 30\n"}, // it is over
		{"job/good --exit-code-from=job/good --tail=2", 0, "note: job/good has completed\n", " 30\n"},
		{"job/good --until=nothing-like-it", 1, `no line matched --until "nothing-like-it" before job/good ended`, " 30\n"},
		{"job/bad --tail=-1", 0, "note: job/bad has failed (BackoffLimitExceeded: ", "\n"},
		{"job/bad --exit-code-from=bad", 1, "note: job/bad has failed (BackoffLimitExceeded: ", "\n"},
		{"job/good job/bad --exit-code-from=job/good", 0, "note: job/good has completed\n", "\n"},
		{"job/none", 1, `jobs.batch "none" not found`, ""},
	} {
		got := kit.RunKdiag(t, append([]string{"logs", "-n", namespace}, strings.Fields(c.line)...)...)
		if got.Code != c.code || !strings.Contains(got.Stderr, c.says) || !strings.HasSuffix(got.Stdout, c.ending) {
			t.Errorf("logs %s: %v, want code %d, %q, and the end of the log", c.line, got, c.code, c.says)
		}
		if lines := strings.Count(got.Stdout, "\n"); strings.HasPrefix(c.line, "job/good --tail=-1") && lines != 30 {
			t.Errorf("logs %s: %d lines, want 30", c.line, lines)
		}
	}
}

// TestLogsOfNamespaces follows pods of one name in several namespaces, and tells them apart.
func TestLogsOfNamespaces(t *testing.T) {
	one, two := kit.CreateNamespace(t), kit.CreateNamespace(t)
	for _, namespace := range []string{one, two} {
		kit.AddPods(t, namespace, kit.LoggerManifest("same", one, "-count", "1"))
	}

	for _, line := range []string{
		fmt.Sprintf("-n %s -n %s -a", one, two), fmt.Sprintf("-n %s,%s same", one, two), "-A -l app=" + one,
	} {
		got := kit.RunKdiag(t, append([]string{"logs", "--follow=false"}, strings.Fields(line)...)...)
		var shown []string
		for text := range strings.Lines(got.Stdout) {
			shown = append(shown, strings.Fields(text)[0])
		}

		for _, namespace := range []string{one, two} {
			if count := len(slices.DeleteFunc(slices.Clone(shown), func(name string) bool { return name != namespace+"/same" })); count != 1 || got.Code != 0 {
				t.Errorf("logs %s: %v, want one line of %s/same", line, got, namespace)
			}
		}
	}
}

// TestLogsOfSameName follows a name while its pod is deleted and made again: each line comes once, also to a
// user who may not watch pods and learns late that another one has the name.
func TestLogsOfSameName(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.BindRole(t, namespace, namespace+"-reader", []kit.RoleRule{{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: []string{"get"}}})
	manifest := kit.LoggerManifest("same", "same", "-rate", "200")
	kit.AddPods(t, namespace, manifest)
	args := []string{"logs", "-n", namespace, "same", "-o", "raw", "--tail=-1"}
	admin, reader := kit.StartKdiag(t, args...), kit.StartKdiag(t, append(args, "--as="+namespace+"-reader")...)
	for round := range 2 {
		if round > 0 {
			kit.RunKubectl(t, "delete", "pod", "-n", namespace, "same", "--grace-period=0", "--force")
			kit.ApplyManifest(t, namespace, manifest)
			kit.WaitForPods(t, namespace)
		}
		for _, logs := range []*kit.Process{admin, reader} {
			logs.WaitForLines(strings.Count(logs.Stdout.String(), "\n") + 300)
		}
	}

	for name, logs := range map[string]*kit.Process{"admin": admin, "reader": reader} {
		t.Run(name, func(t *testing.T) { verifyInstances(t, logs.Interrupt()) })
	}
}

// verifyInstances wants the lines of two loggers, each once and in order.
func verifyInstances(t *testing.T, got kit.Result) {
	t.Helper()
	instances := map[string]int{}
	for line := range strings.Lines(got.Stdout) {
		instance, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number == "end" {
			continue
		}
		if instances[instance]++; number != fmt.Sprint(instances[instance]) {
			t.Fatalf("line %q, want number %d", line, instances[instance])
		}
	}
	if len(instances) != 2 {
		t.Errorf("%d pods, want 2: %v", len(instances), instances)
	}
}
