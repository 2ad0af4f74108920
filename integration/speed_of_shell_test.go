//go:build bench

package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/integration/kit"

	"github.com/creack/pty"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// speedRuns is how often each command is timed.
const speedRuns = 10

// TestSpeed prints medians of kdiag and kubectl side by side. Only "make bench" runs
// it: a slow machine must fail no test.
func TestSpeed(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	to := kit.ReadServerURL(t)
	far := []string{"--server=https://" + kit.StartToxiproxy(t).Delay(t, "api", to.Host), "--tls-server-name=" + to.Hostname()}
	targets := compareCold(t, namespace, "cold: from the command to a first answer on the terminal", nil)
	compareCold(t, namespace, fmt.Sprintf("cold: the same, %s from the API server", kit.Distance), far)
	busy := kit.CreateNamespace(t)
	createEvents(t, busy, manyEvents)
	compareCold(t, busy, fmt.Sprintf("cold: the same, in a namespace that keeps %d events", manyEvents), nil)

	kdiag := func(label string, args ...string) timedCommand { return timedCommand{label, kit.BinaryPath(), args} }
	kubectl := func(label string, args ...string) timedCommand { return timedCommand{label, "kubectl", args} }
	compareCommands(t, "warm: a command in a container that is there",
		kdiag("kdiag shell -- -c true", "shell", "-n", namespace, targets[0], "--", "-c", "true"),
		kubectl("kubectl exec -- true", "exec", "-n", namespace, targets[0], "--", "true"))
	compareCommands(t, fmt.Sprintf("warm: the same, %s from the API server", kit.Distance),
		kdiag("kdiag shell -- -c true", append(far, "shell", "-n", namespace, targets[0], "--", "-c", "true")...),
		kubectl("kubectl exec -- true", append(far, "exec", "-n", namespace, targets[0], "--", "true")...))
	compareCommands(t, "ps: a look from a container that is there",
		kdiag("kdiag ps --sockets", "ps", "--sockets", "-n", namespace, targets[0]),
		kubectl("kubectl exec -- true", "exec", "-n", namespace, targets[0], "--", "true"))
	compareCommands(t, "start: the version",
		kdiag("kdiag version", "version"), kubectl("kubectl version --client", "version", "--client"))
}

// manyEvents is how many events a busy namespace keeps: those of an hour, by the
// API server's default.
const manyEvents = 5000

// createEvents creates events of pods that do not exist.
func createEvents(t *testing.T, namespace string, many int) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kit.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}

	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}

	create := func(i int) error {
		event := fmt.Sprintf(`{"metadata": {"name": "gone.%d"}, "reason": "Started", "message": "Container started", "type": "Normal",
			"involvedObject": {"kind": "Pod", "namespace": %q, "name": "gone-%d", "uid": "%d", "fieldPath": "spec.containers{app}"}}`, i, namespace, i, i)
		response, err := client.Post(config.Host+"/api/v1/namespaces/"+namespace+"/events", "application/json", strings.NewReader(event))
		if err != nil {
			return err
		}
		defer response.Body.Close()

		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode != http.StatusCreated {
			return fmt.Errorf("create an event: %s", response.Status)
		}

		return nil
	}

	const workers = 16
	var all sync.WaitGroup
	for first := range workers {
		all.Go(func() {
			for i := first; i < many; i += workers {
				if err := create(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}

	all.Wait()
}

// timedCommand names a command to be timed.
type timedCommand struct {
	label, name string
	args        []string
}

// compareCommands times two commands by turns.
func compareCommands(t *testing.T, what string, ours, theirs timedCommand) {
	t.Helper()
	mine, others := timedSide{name: ours.label}, timedSide{name: theirs.label}
	for range speedRuns {
		mine.times = append(mine.times, timeCommand(t, ours.name, ours.args...))
		others.times = append(others.times, timeCommand(t, theirs.name, theirs.args...))
	}
	printComparison(what, mine, others)
}

// compareCold times shells that each need a new container, in pods of their own. It
// returns the pods in which kdiag has its containers.
func compareCold(t *testing.T, namespace, what string, connection []string) (mine []string) {
	t.Helper()
	var manifests strings.Builder
	var others []string
	for i := range speedRuns {
		mine = append(mine, fmt.Sprintf("kdiag-%d-%d", len(connection), i))
		others = append(others, fmt.Sprintf("debug-%d-%d", len(connection), i))
		for _, name := range []string{mine[i], others[i]} {
			fmt.Fprintf(&manifests, "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: 'localhost/kdiag-sample:full', imagePullPolicy: Never}]}}\n", name)
		}
	}

	kit.AddPods(t, namespace, manifests.String())

	// What one leaves the kubelet to do must not slow the other down.
	waitForKubelet := func(pod, state string) {
		kit.WaitUntil(t, "the kubelet's word that the container of "+pod+" is "+state, func() bool {
			return kit.RunKubectl(t, "get", "pod", "-n", namespace, pod, "-o",
				"jsonpath={.status.ephemeralContainerStatuses[*].state."+state+".startedAt}") != ""
		})
	}

	shell, debug := timedSide{name: "kdiag shell"}, timedSide{name: "kubectl debug -it"}
	for i := range speedRuns {
		shell.times = append(shell.times, timeOnTerminal(t, kit.BinaryPath(), slices.Concat(connection, []string{"shell", "-n", namespace, mine[i]})...))
		waitForKubelet(mine[i], "running")
		debug.times = append(debug.times, timeOnTerminal(t, "kubectl", slices.Concat(connection, []string{"debug", "-it", "-n", namespace, others[i],
			"--image=localhost/kdiag-sample:debug", "--image-pull-policy=Never", "--target=app", "--profile=sysadmin", "--", "sh"})...))
		waitForKubelet(others[i], "terminated")
	}

	printComparison(what, shell, debug)
	return mine
}

// timedSide carries the times of one of two programs that are compared.
type timedSide struct {
	name  string
	times []time.Duration
}

// median returns the median of the times.
func (s timedSide) median() time.Duration {
	slices.Sort(s.times)
	return s.times[len(s.times)/2].Round(time.Millisecond)
}

// printComparison prints the medians of two programs, and their ratio.
func printComparison(what string, ours, theirs timedSide) {
	fmt.Printf("%s\n  %-26s %v\n  %-26s %v\n  ratio %.2f (medians of %d, by turns)\n", what,
		ours.name, ours.median(), theirs.name, theirs.median(), float64(ours.median())/float64(theirs.median()), speedRuns)
}

// timeCommand returns how long a command takes, which must succeed.
func timeCommand(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	start := time.Now()
	if got := kit.RunCommand(t, "", kit.Environment(), name, args...); got.Code != 0 {
		t.Fatalf("%s %q: %v", name, args, got)
	}
	return time.Since(start)
}

// timeOnTerminal runs a shell on a terminal of its own, asks it for a sum, and
// returns how long it takes until the answer is on the screen.
func timeOnTerminal(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = kit.Environment("TERM=xterm")
	start := time.Now()
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()

	fmt.Fprintln(terminal, "echo sum $((40+2)); exit")
	var took time.Duration
	screen := bufio.NewScanner(terminal)
	for screen.Scan() {
		if took == 0 && strings.Contains(screen.Text(), "sum 42") {
			took = time.Since(start)
		}
	}

	if err := cmd.Wait(); err != nil || took == 0 {
		t.Fatalf("%s %q: no answer, %v", name, args, err)
	}

	return took
}
