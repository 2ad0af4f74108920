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

	"github.com/creack/pty"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const speedRuns = 10

// TestSpeed prints medians side by side; "make bench" runs it, the suite does
// not: a busy machine is no fault.
func TestSpeed(t *testing.T) {
	namespace := newNamespace(t)
	to := server(t)
	far := []string{"--server=https://" + newToxiproxy(t).far(t, "api", to.Host), "--tls-server-name=" + to.Hostname()}
	targets := cold(t, namespace, "cold: from the command to a first answer on the terminal", nil)
	cold(t, namespace, fmt.Sprintf("cold: the same, %s from the API server", distance), far)
	busy := newNamespace(t)
	keepEvents(t, busy, manyEvents)
	cold(t, busy, fmt.Sprintf("cold: the same, in a namespace that keeps %d events", manyEvents), nil)

	kdiag := func(label string, args ...string) command { return command{label, shared.binary(), args} }
	kubectl := func(label string, args ...string) command { return command{label, "kubectl", args} }
	beside(t, "warm: a command in a container that is there",
		kdiag("kdiag shell -- -c true", "shell", "-n", namespace, targets[0], "--", "-c", "true"),
		kubectl("kubectl exec -- true", "exec", "-n", namespace, targets[0], "--", "true"))
	beside(t, fmt.Sprintf("warm: the same, %s from the API server", distance),
		kdiag("kdiag shell -- -c true", append(far, "shell", "-n", namespace, targets[0], "--", "-c", "true")...),
		kubectl("kubectl exec -- true", append(far, "exec", "-n", namespace, targets[0], "--", "true")...))
	beside(t, "ps: a look from a container that is there",
		kdiag("kdiag ps --sockets", "ps", "--sockets", "-n", namespace, targets[0]),
		kubectl("kubectl exec -- true", "exec", "-n", namespace, targets[0], "--", "true"))
	beside(t, "start: the version",
		kdiag("kdiag version", "version"), kubectl("kubectl version --client", "version", "--client"))
}

// manyEvents is what a busy namespace keeps: an hour's, by the API server's
// default.
const manyEvents = 5000

// keepEvents has a namespace keep so many events of pods that are none.
func keepEvents(t *testing.T, namespace string, many int) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.kubeconfig)
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

// command is a program to be timed.
type command struct {
	label, name string
	args        []string
}

// beside times two commands by turns.
func beside(t *testing.T, what string, ours, theirs command) {
	t.Helper()
	mine, others := side{name: ours.label}, side{name: theirs.label}
	for range speedRuns {
		mine.times = append(mine.times, timed(t, ours.name, ours.args...))
		others.times = append(others.times, timed(t, theirs.name, theirs.args...))
	}
	compare(what, mine, others)
}

// cold has a container made for each shell, in pods of their own. It returns
// those of kdiag's side.
func cold(t *testing.T, namespace, what string, connection []string) (mine []string) {
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

	apply(t, namespace, manifests.String())
	waitForPods(t, namespace)
	// What one leaves the kubelet to do must not slow the other.
	settled := func(pod, state string) {
		eventually(t, "the kubelet's word that the container of "+pod+" is "+state, func() bool {
			return kubectl(t, "get", "pod", "-n", namespace, pod, "-o",
				"jsonpath={.status.ephemeralContainerStatuses[*].state."+state+".startedAt}") != ""
		})
	}

	shell, debug := side{name: "kdiag shell"}, side{name: "kubectl debug -it"}
	for i := range speedRuns {
		shell.times = append(shell.times, onTerminal(t, shared.binary(), slices.Concat(connection, []string{"shell", "-n", namespace, mine[i]})...))
		settled(mine[i], "running")
		debug.times = append(debug.times, onTerminal(t, "kubectl", slices.Concat(connection, []string{"debug", "-it", "-n", namespace, others[i],
			"--image=localhost/kdiag-sample:debug", "--image-pull-policy=Never", "--target=app", "--profile=sysadmin", "--", "sh"})...))
		settled(others[i], "terminated")
	}

	compare(what, shell, debug)
	return mine
}

// side is one of two programs that are compared.
type side struct {
	name  string
	times []time.Duration
}

func (s side) median() time.Duration {
	slices.Sort(s.times)
	return s.times[len(s.times)/2].Round(time.Millisecond)
}

func compare(what string, ours, theirs side) {
	fmt.Printf("%s\n  %-26s %v\n  %-26s %v\n  ratio %.2f (medians of %d, by turns)\n", what,
		ours.name, ours.median(), theirs.name, theirs.median(), float64(ours.median())/float64(theirs.median()), speedRuns)
}

func timed(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	start := time.Now()
	if got := run(t, "", shared.env(), name, args...); got.code != 0 {
		t.Fatalf("%s %q: %v", name, args, got)
	}
	return time.Since(start)
}

// onTerminal runs a shell on a terminal of its own and asks it for a sum. It
// is the time until the answer is on the screen.
func onTerminal(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = shared.env("TERM=xterm")
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
