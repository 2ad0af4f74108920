//go:build bench

package integration

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

const speedRuns = 10

// TestSpeed prints medians side by side; "make bench" runs it, the suite does
// not: a busy machine is no fault.
func TestSpeed(t *testing.T) {
	namespace := newNamespace(t)
	var pods strings.Builder
	for i := range speedRuns {
		for _, name := range []string{"kdiag", "debug"} {
			fmt.Fprintf(&pods, "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s-%d}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: 'localhost/kdiag-sample:full', imagePullPolicy: Never}]}}\n", name, i)
		}
	}
	apply(t, namespace, pods.String())
	waitForPods(t, namespace)

	shell, debug := side{name: "kdiag shell"}, side{name: "kubectl debug -it"}
	for i := range speedRuns {
		// What one leaves the kubelet to do must not slow the other.
		settled := func(pod, state string) {
			eventually(t, "the kubelet's word that the container of "+pod+" is "+state, func() bool {
				return kubectl(t, "get", "pod", "-n", namespace, pod, "-o",
					"jsonpath={.status.ephemeralContainerStatuses[*].state."+state+".startedAt}") != ""
			})
		}
		shell.times = append(shell.times, onTerminal(t, shared.binary(), "shell", "-n", namespace, fmt.Sprintf("kdiag-%d", i)))
		settled(fmt.Sprintf("kdiag-%d", i), "running")
		debug.times = append(debug.times, onTerminal(t, "kubectl", "debug", "-it", "-n", namespace, fmt.Sprintf("debug-%d", i),
			"--image=localhost/kdiag-sample:debug", "--image-pull-policy=Never", "--target=app", "--profile=sysadmin", "--", "sh"))
		settled(fmt.Sprintf("debug-%d", i), "terminated")
	}
	compare("cold: from the command to a first answer on the terminal", shell, debug)

	warm, exec := side{name: "kdiag shell -- -c true"}, side{name: "kubectl exec -- true"}
	for range speedRuns {
		warm.times = append(warm.times, timed(t, shared.binary(), "shell", "-n", namespace, "kdiag-0", "--", "-c", "true"))
		exec.times = append(exec.times, timed(t, "kubectl", "exec", "-n", namespace, "kdiag-0", "--", "true"))
	}
	compare("warm: a command in a container that is there", warm, exec)

	to := server(t)
	far := []string{"--server=https://" + newToxiproxy(t).far(t, "api", to.Host), "--tls-server-name=" + to.Hostname()}
	warmFar, execFar := side{name: "kdiag shell -- -c true"}, side{name: "kubectl exec -- true"}
	for range speedRuns {
		warmFar.times = append(warmFar.times, timed(t, shared.binary(), slices.Concat(far, []string{"shell", "-n", namespace, "kdiag-0", "--", "-c", "true"})...))
		execFar.times = append(execFar.times, timed(t, "kubectl", slices.Concat(far, []string{"exec", "-n", namespace, "kdiag-0", "--", "true"})...))
	}
	compare(fmt.Sprintf("warm: the same, %s from the API server", distance), warmFar, execFar)

	look, again := side{name: "kdiag ps --sockets"}, side{name: "kubectl exec -- true"}
	for range speedRuns {
		look.times = append(look.times, timed(t, shared.binary(), "ps", "--sockets", "-n", namespace, "kdiag-0"))
		again.times = append(again.times, timed(t, "kubectl", "exec", "-n", namespace, "kdiag-0", "--", "true"))
	}
	compare("ps: a look from a container that is there", look, again)

	ours, theirs := side{name: "kdiag version"}, side{name: "kubectl version --client"}
	for range speedRuns {
		ours.times = append(ours.times, timed(t, filepath.Join(shared.root, "bin", "kdiag"), "version"))
		theirs.times = append(theirs.times, timed(t, "kubectl", "version", "--client"))
	}
	compare("start: the version", ours, theirs)
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
