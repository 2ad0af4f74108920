package integration

import (
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// manyContainers describes pods with containers of every kind, and one that cannot
// start.
const manyContainers = `
apiVersion: v1
kind: Pod
metadata: {name: many, labels: {app: many}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: before, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1", "-exit"]}
  containers:
  - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
  - {name: second, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
---
apiVersion: v1
kind: Pod
metadata:
  name: annotated
  labels: {app: annotated}
  annotations: {kubectl.kubernetes.io/default-container: second}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
  - {name: second, image: "localhost/kdiag-sample:logger", imagePullPolicy: Never, args: ["-count", "1"]}
---
apiVersion: v1
kind: Pod
metadata: {name: noimage, labels: {app: many}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:none", imagePullPolicy: Never}
`

// listShownContainers returns the containers whose lines were printed, sorted.
func listShownContainers(text string) string {
	var names []string
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 4 {
			names = append(names, words[0]+"/"+words[1])
		}
	}

	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// TestLogsContainers follows the containers that flags and arguments select.
func TestLogsContainers(t *testing.T) {
	t.Parallel()
	namespace := kit.LogsNamespace(t)
	kit.ApplyManifest(t, namespace, manyContainers)
	kit.WaitUntil(t, "the pod to be ready", func() bool {
		return kit.ReadPodField(t, namespace, "many", "{.status.containerStatuses[*].ready}") == "true true"
	})
	kit.RunKubectl(t, "debug", "-n", namespace, "many", "-q", "--image=localhost/kdiag-sample:logger", "--image-pull-policy=Never", "-c", "debug", "--", "/logger", "-count", "1")
	// The log of kdiag's own container is not shown.
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "many", "-q", "-c", "app", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell: %v", got)
	}

	for args, want := range map[string]string{
		"many":                                "many/app many/before many/debug many/second",
		"many --init-containers=false":        "many/app many/debug many/second",
		"many --ephemeral-containers=false":   "many/app many/before many/second",
		"many --all-containers=false":         "many/app",
		"many -c second -c before":            "many/before many/second",
		"many:second annotated:app":           "annotated/app many/second",
		"-l app=many:debug -l app=annotated":  "annotated/second many/debug",
		"pod/annotated":                       "annotated/second",
		"annotated --all-containers":          "annotated/app annotated/second",
		"--pod annotated:app --pod many:app":  "annotated/app many/app",
		"-l app=many --include=NOTHING":       "",
		"annotated --all-containers --tail=0": "",
	} {
		kit.WaitUntil(t, args, func() bool {
			got := kit.RunKdiag(t, append([]string{"logs", "-n", namespace, "--follow=false"}, strings.Fields(args)...)...)
			return got.Code == 0 && listShownContainers(got.Stdout) == want
		})
	}

	// A pod whose image is missing does not hold up the others.
	got := kit.RunKdiag(t, "logs", "-n", namespace, "-l", "app=many", "--tail=-1", "--for=2s")
	if got.Code != 0 || listShownContainers(got.Stdout) != "many/app many/before many/debug many/second" {
		t.Errorf("logs with a pod that does not start: %v", got)
	}

	got = kit.RunKdiag(t, "logs", "-n", namespace, "many", "-c", "no")
	if got.Code != 1 || !strings.Contains(got.Stderr, "hint: containers in this pod: before, app, second, ") {
		t.Errorf("logs -c no: %v, want the names there are", got)
	}
}

// TestLogsPrevious prints the lines of the instance before the last restart.
func TestLogsPrevious(t *testing.T) {
	t.Parallel()
	namespace := kit.LogsNamespace(t)
	kit.StartLoggers(t, "previous", kit.LoggerManifest("previous", "previous", "-rate", "100", "-exit-once", "7", "-mark", "/mark/once", "-count", "2"))
	kit.WaitForPodField(t, namespace, "previous", "{.status.containerStatuses[0].restartCount}", "1")

	got := kit.RunKdiag(t, "logs", "-n", namespace, "previous", "--previous")
	rows := kit.GroupLines(t, got.Stdout)
	if got.Code != 0 || len(rows) != 1 {
		t.Fatalf("logs --previous: %v", got)
	}

	for run, lines := range rows {
		kit.VerifyNumbers(t, run, lines, 1, 7)
	}
}
