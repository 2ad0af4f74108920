package integration

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// psDocument is what "ps -o json" prints, as far as tests read it.
type psDocument struct {
	Namespace, Pod, Container, Profile string
	Processes                          []struct {
		PID, PPID, UID, Threads int
		User, State, Start      string
		RSS                     int64
		Command                 []string
	}
	Listening []psSocket
	Connected []psSocket
	Hidden    struct {
		Processes []struct {
			Reason string
			Count  int
		}
		Sockets int
	}
}

type psSocket struct {
	Protocol, State, Local, Remote string
	PIDs                           []int
	Peer                           *struct{ Kind, Namespace, Name string }
}

// ps runs "ps -o json", which must succeed.
func ps(t *testing.T, args ...string) (psDocument, result) {
	t.Helper()
	got := kdiag(t, append([]string{"ps", "-o", "json"}, args...)...)
	var d psDocument
	if err := json.Unmarshal([]byte(got.stdout), &d); err != nil || got.code != 0 {
		t.Fatalf("ps %q: %v\n%v", args, err, got)
	}
	return d, got
}

// soleProcess checks that there is one process, the application's, and that it
// has the one socket that listens.
func (d psDocument) soleProcess(t *testing.T, uid string) {
	t.Helper()
	if len(d.Processes) != 1 || len(d.Listening) != 1 {
		t.Fatalf("ps = %+v, want one process and one listener", d)
	}

	p, s := d.Processes[0], d.Listening[0]
	if p.Command[0] != "/app" || strconv.Itoa(p.UID) != uid || p.State != "S" || p.RSS < 1<<20 || p.Threads < 2 || p.Start == "" {
		t.Errorf("process = %+v, want the application's of user %s", p, uid)
	}

	port := ":8080"
	if len(p.Command) > 1 {
		port = p.Command[1]
	}
	if s.Protocol != "tcp6" || s.Local != "[::]"+port || !slices.Equal(s.PIDs, []int{p.PID}) {
		t.Errorf("listener = %+v, want that of process %d at %s", s, p.PID, port)
	}
}

// TestPsKinds looks into every kind of pod: at the target's process alone.
func TestPsKinds(t *testing.T) {
	namespace := pods(t)
	for _, k := range kinds {
		for _, profile := range []string{"setns", "baseline"} {
			t.Run(k.name+"/"+profile, func(t *testing.T) {
				t.Parallel()
				d, got := ps(t, append([]string{"-n", namespace, "--profile", profile}, k.target...)...)
				d.soleProcess(t, k.uid)
				if d.Profile != profile || len(d.Hidden.Processes) > 0 || strings.Contains(got.stderr, "hidden") {
					t.Errorf("ps: %v\nwant nothing hidden with profile %s", got, profile)
				}
			})
		}
	}
}

// TestPsNames has users' names where the target has them.
func TestPsNames(t *testing.T) {
	namespace := pods(t)
	if d, _ := ps(t, "-n", namespace, "distroless"); d.Processes[0].User != "nonroot" {
		t.Errorf("user = %q, want nonroot", d.Processes[0].User)
	}
	if d, _ := ps(t, "-n", namespace, "nonroot"); d.Processes[0].User != "" {
		t.Errorf("user = %q, want none", d.Processes[0].User)
	}
}

// TestPsRestricted sees all of a target that is of its own user, in a namespace
// that enforces "restricted".
func TestPsRestricted(t *testing.T) {
	namespace := newNamespace(t, "pod-security.kubernetes.io/enforce=restricted")
	apply(t, namespace, manifest(t, "restricted.yaml"))
	waitForPods(t, namespace)
	for pod, uid := range map[string]string{"nonroot": "1000", "distroless": "65532"} {
		d, got := ps(t, "-n", namespace, pod)
		d.soleProcess(t, uid)
		if d.Profile != "restricted" || got.stderr != "" {
			t.Errorf("ps of %s: %v\nwant profile restricted, and no note", pod, got)
		}
	}
}

// TestPsHidden says what it has no right to see, and shows the rest.
func TestPsHidden(t *testing.T) {
	namespace := pods(t)
	d, got := ps(t, "-n", namespace, "deploy/web", "--profile=restricted")
	if len(d.Processes) != 1 || d.Processes[0].Command[0] != "/app" || len(d.Listening) != 1 || len(d.Listening[0].PIDs) != 0 {
		t.Errorf("ps = %+v, want the process, and a listener of nobody known", d)
	}
	if len(d.Hidden.Processes) != 1 || d.Hidden.Processes[0].Count != 1 || d.Hidden.Sockets != 1 {
		t.Errorf("hidden = %+v, want one process and one socket", d.Hidden)
	}

	const note = "note: hidden with profile restricted: the sockets of 1 of 1 processes (the target runs as user 0, group 0, this container as 65532, 65532); " +
		"1 sockets of the pod have no process that is known\n"
	if got.stderr != note {
		t.Errorf("stderr = %q, want %q", got.stderr, note)
	}

	text := kdiag(t, "ps", "-n", namespace, "deploy/web", "--profile=restricted")
	if text.code != 0 || text.stderr != note || !slices.Contains(fields(text.stdout), "tcp6 [::]:8080 ?") {
		t.Errorf("ps: %v\nwant the note, and the listener with a question mark", text)
	}
}

// fields are the lines of a table with one blank between its cells.
func fields(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

// TestPsTables is what people read.
func TestPsTables(t *testing.T) {
	namespace := pods(t)
	got := kdiag(t, "ps", "-n", namespace, "several")
	lines := fields(got.stdout)
	if got.code != 0 || lines[0] != "PID USER STATE START RSS CPU COMMAND" || !strings.HasPrefix(lines[1], "1 0 S ") || !strings.HasSuffix(lines[1], " /app :8081") ||
		!slices.Equal(lines[2:], []string{"", "PROTO LISTENING PROCESS", "tcp6 [::]:8081 1/app"}) {
		t.Errorf("ps: %v", got)
	}

	if got.stderr != "note: container one; there are also: two (choose with -c)\n" {
		t.Errorf("stderr = %q, want the choice of the container", got.stderr)
	}

	got = kdiag(t, "ps", "-n", namespace, "distroless", "-owide", "--sockets")
	lines = fields(got.stdout)
	if got.code != 0 || got.stderr != "" || lines[0] != "PID PPID USER UID STATE START RSS CPU THREADS COMMAND" || !strings.HasPrefix(lines[1], "1 0 nonroot 65532 S 2") ||
		lines[3] != "PROTO LISTENING PROCESS INODE" || lines[len(lines)-1] != "no connected sockets" {
		t.Errorf("ps -o wide: %v", got)
	}
}

// TestPsReplaced has a new shell container where the old one just died.
func TestPsReplaced(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	if got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "kill -9 $(pgrep -f 'kdiag manager')"); got.code == 0 {
		t.Fatalf("shell whose container was killed: %v", got)
	}
	d, _ := ps(t, "-n", namespace, "root")
	d.soleProcess(t, "0")
}

func TestPsFails(t *testing.T) {
	namespace := pods(t)
	failure{1, "no such container", "it has: one, two"}.check(t, "no such container", kdiag(t, "ps", "-n", namespace, "several", "-c", "three"))
	failure{1, "it waits: PodInitializing", "running now: setup"}.check(t, "a container that does not run", kdiag(t, "ps", "-n", namespace, "initializing"))
	failure{1, "container", "is localhost/kdiag-sample:full a kdiag image"}.check(t, "another image",
		kdiag(t, "ps", "-n", namespace, "readonly", "--image=localhost/kdiag-sample:full", "--image-pull-policy=Never"))
}

// TestPsWatch prints one document per line until Ctrl-C, and leaves no process
// in the pod.
func TestPsWatch(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	cmd := exec.Command(shared.binary(), "ps", "-n", namespace, "root", "--watch", "--interval=100ms", "-o", "json")
	cmd.Env = shared.env()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for range 3 {
		var d psDocument
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &d) != nil {
			t.Fatalf("line %q: %v", lines.Text(), lines.Err())
		}
		d.soleProcess(t, "0")
	}

	_ = cmd.Process.Signal(syscall.SIGINT)
	for lines.Scan() {
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("code after Ctrl-C = %d, want 0", code)
	}

	eventually(t, "the end of inspect in the pod", func() bool {
		return !strings.Contains(kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "ps -o args").stdout, "kdiag inspect")
	})
}

// TestPsWatchTargetEnds says so when the application goes.
func TestPsWatchTargetEnds(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	cmd := exec.Command(shared.binary(), "ps", "-n", namespace, "root", "--watch", "--interval=100ms")
	cmd.Env = shared.env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("no line: %v", lines.Err())
	}

	kubectl(t, "delete", "pod", "-n", namespace, "root", "--wait=false", "--grace-period=1")
	for lines.Scan() {
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "kdiag: ") {
		t.Errorf("code %d, %q, want 1 and the reason", code, stderr.String())
	}
}

// TestPsOnTerminal redraws in place, within the window.
func TestPsOnTerminal(t *testing.T) {
	namespace := pods(t)
	x := newTerminal(t)
	x.tmux("resize-window", "-x", "60", "-y", "12")
	x.line("clear; " + shared.binary() + " ps -n " + namespace + " several -c two --watch --interval=100ms")
	x.await("/several, conta…")
	x.await("[::]:8082  1/app")
	first := strings.SplitN(x.screen(), " pod ", 2)[0]
	eventually(t, "the next picture", func() bool { return !strings.HasPrefix(x.screen(), first) })
	if n := strings.Count(x.screen(), "LISTENING"); n != 1 {
		t.Errorf("%d pictures on the screen, want one:\n%s", n, x.screen())
	}

	x.keys("C-c")
	x.awaitPrompt()
	x.line("echo code $?")
	x.await("code 0")
	x.line("clear; " + shared.binary() + " ps -n " + namespace + " several -c two")
	x.await("1/app")
	x.awaitPrompt()
}
