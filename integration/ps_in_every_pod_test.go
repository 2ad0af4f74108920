package integration

import (
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestPsKinds shows the target's process alone, in every kind of pod.
func TestPsKinds(t *testing.T) {
	namespace := kit.SharedPods(t)
	for _, k := range kit.PodKinds {
		for _, profile := range []string{"setns", "baseline"} {
			t.Run(k.Name+"/"+profile, func(t *testing.T) {
				t.Parallel()
				report := kit.RunPs(t, append([]string{"-n", namespace, "--profile", profile}, k.Target...)...)
				report.VerifySoleProcess(t, k.UID)
				if report.Profile != profile || len(report.Hidden.Processes) > 0 || strings.Contains(report.Stderr, "hidden") {
					t.Errorf("ps: %v\nwant nothing hidden with profile %s", report, profile)
				}
			})
		}
	}
}

// TestPsNames shows the names of users where the target has them.
func TestPsNames(t *testing.T) {
	namespace := kit.SharedPods(t)
	if report := kit.RunPs(t, "-n", namespace, "distroless"); report.Processes[0].User != "nonroot" {
		t.Errorf("user = %q, want nonroot", report.Processes[0].User)
	}
	if report := kit.RunPs(t, "-n", namespace, "nonroot"); report.Processes[0].User != "" {
		t.Errorf("user = %q, want none", report.Processes[0].User)
	}
}

// TestPsRestricted shows all of a target that is not root's, in a namespace that
// enforces "restricted".
func TestPsRestricted(t *testing.T) {
	namespace := kit.CreatePods(t, "restricted.yaml", "pod-security.kubernetes.io/enforce=restricted")
	for pod, uid := range map[string]string{"nonroot": "1000", "distroless": "65532"} {
		report := kit.RunPs(t, "-n", namespace, pod)
		report.VerifySoleProcess(t, uid)
		if report.Profile != "restricted" || report.Stderr != "" {
			t.Errorf("ps of %s: %v\nwant profile restricted, and no note", pod, report)
		}
	}
}

// TestPsHidden says what it may not see, and shows the rest.
func TestPsHidden(t *testing.T) {
	namespace := kit.SharedPods(t)
	report := kit.RunPs(t, "-n", namespace, "deploy/web", "--profile=restricted")
	if len(report.Processes) != 1 || report.Processes[0].Command[0] != "/app" || len(report.Listening) != 1 || len(report.Listening[0].PIDs) != 0 {
		t.Errorf("ps = %+v, want the process, and a listener of nobody known", report)
	}
	if len(report.Hidden.Processes) != 1 || report.Hidden.Processes[0].Count != 1 || report.Hidden.Sockets != 1 {
		t.Errorf("hidden = %+v, want one process and one socket", report.Hidden)
	}

	const note = "note: hidden with profile restricted: the sockets of 1 of 1 process (the target runs as user 0, group 0; this container runs as user 65532, group 65532), " +
		"and the processes of 1 socket\n"
	if report.Stderr != note {
		t.Errorf("stderr = %q, want %q", report.Stderr, note)
	}

	text := kit.RunKdiag(t, "ps", "-n", namespace, "deploy/web", "--profile=restricted")
	if text.Code != 0 || text.Stderr != note || !slices.Contains(splitTable(text.Stdout), "tcp6 [::]:8080 ?") {
		t.Errorf("ps: %v\nwant the note, and the listener with a question mark", text)
	}
}

// TestPsReplaced adds a new shell container where the old one has just ended.
func TestPsReplaced(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "kill -9 $(pgrep -f 'kdiag manager')"); got.Code == 0 {
		t.Fatalf("shell whose container was killed: %v", got)
	}

	kit.RunPs(t, "-n", namespace, "root").VerifySoleProcess(t, "0")
}

// TestPsFails says why it has nothing to show.
func TestPsFails(t *testing.T) {
	namespace := kit.SharedPods(t)
	kit.ExpectFailure(1, "no such container", "containers in this pod: one, two").Verify(t, "no such container", kit.RunKdiag(t, "ps", "-n", namespace, "several", "-c", "three"))
	kit.ExpectFailure(1, "it is waiting: PodInitializing", "running containers: setup").Verify(t, "a container that does not run", kit.RunKdiag(t, "ps", "-n", namespace, "initializing", "--timeout=2s"))
	kit.ExpectFailure(1, "container", "check that localhost/kdiag-sample:full is a kdiag image").Verify(t, "another image",
		kit.RunKdiag(t, "ps", "-n", namespace, "readonly", "--image=localhost/kdiag-sample:full", "--image-pull-policy=Never"))
}

// TestPsTables prints tables for people.
func TestPsTables(t *testing.T) {
	namespace := kit.SharedPods(t)
	got := kit.RunKdiag(t, "ps", "-n", namespace, "several")
	lines := splitTable(got.Stdout)
	if got.Code != 0 || lines[0] != "PID USER STATE START RSS CPU COMMAND" || !strings.HasPrefix(lines[1], "1 0 S ") || !strings.HasSuffix(lines[1], " /app :8081") ||
		!slices.Equal(lines[2:], []string{"", "PROTO LISTENING PROCESS", "tcp6 [::]:8081 1/app"}) {
		t.Errorf("ps: %v", got)
	}

	if got.Stderr != "note: using container one; the pod also has: two (choose one with -c)\n" {
		t.Errorf("stderr = %q, want the choice of the container", got.Stderr)
	}

	got = kit.RunKdiag(t, "ps", "-n", namespace, "distroless", "-owide", "--sockets")
	lines = splitTable(got.Stdout)
	if got.Code != 0 || got.Stderr != "" || lines[0] != "PID PPID USER UID STATE START RSS CPU THREADS COMMAND" || !strings.HasPrefix(lines[1], "1 0 nonroot 65532 S 2") ||
		lines[3] != "PROTO LISTENING PROCESS INODE" || lines[len(lines)-1] != "no connected sockets" {
		t.Errorf("ps -o wide: %v", got)
	}
}

// splitTable returns the lines of a table with one blank between its cells.
func splitTable(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}
