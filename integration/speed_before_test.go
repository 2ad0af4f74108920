//go:build bench

package integration

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestSpeedBefore prints medians of an earlier build of kdiag, of this one and of
// kubectl. KDIAG_BEFORE is the earlier binary, KDIAG_BEFORE_IMAGE its image on the
// node.
func TestSpeedBefore(t *testing.T) {
	before, image := os.Getenv("KDIAG_BEFORE"), os.Getenv("KDIAG_BEFORE_IMAGE")
	if before == "" || image == "" {
		t.Skip("no earlier build: set KDIAG_BEFORE and KDIAG_BEFORE_IMAGE")
	}

	namespace := kit.CreateNamespace(t)
	debug := []string{"debug", "-it", "--image=localhost/kdiag-sample:debug", "--image-pull-policy=Never", "--target=app", "--profile=sysadmin"}

	ways := []*way{
		{label: "kdiag before", name: before, args: []string{"shell", "--image=" + image}},
		{label: "kdiag now", name: kit.BinaryPath(), args: []string{"shell"}},
		{label: "kdiag now, setns", name: kit.BinaryPath(), args: []string{"shell", "--profile=setns"}},
		{label: "kdiag now, baseline", name: kit.BinaryPath(), args: []string{"shell", "--profile=baseline"}},
		{label: "kubectl debug -it", name: "kubectl", args: debug, after: []string{"--", "sh"}},
	}

	timeCold(t, namespace, ways)
	printWays("cold: from the command to a first answer on the terminal", ways)

	for _, w := range ways {
		w.times = nil
		w.after = []string{"--", "-c", "true"}
	}

	ways[len(ways)-1] = &way{label: "kubectl exec", name: "kubectl", args: []string{"exec"}, after: []string{"--", "true"}}
	for i := range speedRuns {
		for n, w := range ways {
			w.times = append(w.times, timeCommand(t, w.name, w.line(namespace, namePod(n, i))...))
		}
	}

	printWays("warm: a command in a container that is there, or has been there", ways)
}

// way carries one of several ways to a shell, and its times.
type way struct {
	label, name string
	// args come before the pod, after behind it.
	args, after []string
	times       []time.Duration
}

// line returns the arguments that lead into a pod.
func (w *way) line(namespace, pod string) []string {
	return slices.Concat(w.args, []string{"-n", namespace, pod}, w.after)
}

// namePod names the pod for a run of a way.
func namePod(way, run int) string { return fmt.Sprintf("way-%d-%d", way, run) }

// timeCold times each way in pods of its own, where it needs a new container, by
// turns.
func timeCold(t *testing.T, namespace string, ways []*way) {
	t.Helper()
	for i := range speedRuns {
		// A few pods at a time: the node has two cores.
		var manifests strings.Builder
		for n := range ways {
			fmt.Fprintf(&manifests, "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: 'localhost/kdiag-sample:full', imagePullPolicy: Never}]}}\n", namePod(n, i))
		}

		kit.AddPods(t, namespace, manifests.String())

		// Each begins in turn: the first finds the kubelet still busy with the pods.
		for turn := range ways {
			n := (turn + i) % len(ways)
			w := ways[n]
			w.times = append(w.times, timeOnTerminal(t, w.name, w.line(namespace, namePod(n, i))...))
			kit.WaitUntil(t, "the kubelet's status of "+namePod(n, i), func() bool {
				return kit.RunKubectl(t, "get", "pod", "-n", namespace, namePod(n, i), "-o",
					"jsonpath={.status.ephemeralContainerStatuses[*].state.*.startedAt}") != ""
			})
		}
	}
}

// printWays prints the median of each way.
func printWays(what string, ways []*way) {
	fmt.Println(what)
	for _, w := range ways {
		fmt.Printf("  %-26s %v\n", w.label, timedSide{times: w.times}.median())
	}
}
