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

// TestLogsOfSameName follows a name while its pod is deleted and made again, three times: each line comes
// once.
func TestLogsOfSameName(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	manifest := kit.LoggerManifest("same", "same", "-rate", "200")
	kit.AddPods(t, namespace, manifest)
	logs := kit.StartKdiag(t, "logs", "-n", namespace, "same", "-o", "raw", "--tail=-1")
	logs.WaitForLines(50)
	for range 2 {
		kit.RunKubectl(t, "delete", "pod", "-n", namespace, "same", "--grace-period=1")
		kit.ApplyManifest(t, namespace, manifest)
		kit.WaitForPods(t, namespace)
		before := len(strings.Split(logs.Stdout.String(), "\n"))
		logs.WaitForLines(before + 50)
	}

	got := logs.Interrupt()
	seen := map[string]int{}
	instances := map[string]int{}
	for line := range strings.Lines(got.Stdout) {
		seen[line]++
		instance, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number != "end" {
			instances[instance]++
			if number != fmt.Sprint(instances[instance]) {
				t.Errorf("line %q, want number %d", line, instances[instance])
			}
		}
		if seen[line] > 1 {
			t.Errorf("line %q came %d times", line, seen[line])
		}
	}
	if len(instances) != 3 {
		t.Errorf("%d pods, want 3: %v", len(instances), instances)
	}
}
