package enter_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	scratchshell "kdiag/scratch-shell"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == traceArgument {
		os.Exit(traceProcess(os.Args[2]))
	}

	os.Exit(runctest.RunTests(m))
}

// The capabilities that the profiles of "kdiag shell" ask for.
var (
	setnsCaps  = append([]string{"SYS_ADMIN", "SYS_PTRACE"}, runctest.DefaultCaps...)
	chrootCaps = append([]string{"SYS_PTRACE"}, runctest.DefaultCaps...)
)

// A pod has a target container and the ephemeral one beside it.
type pod struct {
	t           *testing.T
	target, eph *runctest.RuncContainer
	// session is what enter is told to call it.
	session string
}

// withSession returns the pod for a subtest, with a session of its own.
func (p pod) withSession(t *testing.T) pod { return pod{t, p.target, p.eph, runctest.NewID()[:16]} }

// startPod starts a pod. The target is a container with one static program, which waits and reaps
// nothing; the ephemeral container runs a manager.
func startPod(t *testing.T, target, eph runctest.ContainerSpec) pod {
	t.Helper()
	runctest.RequireRunc(t)
	first := startTarget(t, target)
	if eph.PIDsOf == nil {
		eph.PIDsOf = first
	}
	return pod{t, first, startEphemeral(t, eph), runctest.NewID()[:16]}
}

func startTarget(t *testing.T, spec runctest.ContainerSpec) *runctest.RuncContainer {
	t.Helper()
	files := map[string][]byte{"/app/busybox-server": targetProgram(t)}
	for name, content := range spec.Files {
		files[name] = content
	}
	spec.Files = files
	if spec.Args == nil {
		spec.Args = []string{"/app/busybox-server", "sleep", "100000"}
	}
	return runctest.StartContainer(t, spec)
}

// targetProgram returns the target's program.
func targetProgram(t *testing.T) []byte {
	t.Helper()
	shell, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return shell
}

func startEphemeral(t *testing.T, spec runctest.ContainerSpec) *runctest.RuncContainer {
	t.Helper()
	spec.Binary, spec.ReadOnly = true, true
	if spec.Args == nil {
		spec.Args = []string{"/kdiag", "manager", "--role=shell"}
	}
	return runctest.StartContainer(t, spec)
}

// commandLine returns a command line of enter's for the pod's target.
func (p pod) commandLine(args ...string) []string {
	return append([]string{"/kdiag", "enter", "--session=" + p.session, "--container-id=" + p.target.ID}, args...)
}

// A result tells what a command did.
type result struct {
	stdout, stderr string
	code           int
}

// runEnter runs enter without a terminal to its end.
func (p pod) runEnter(args ...string) result {
	p.t.Helper()
	return runToEnd(p.t, p.eph.ExecCommand(p.commandLine(args...)...))
}

// runScript runs a script in the target.
func (p pod) runScript(script string) result {
	p.t.Helper()
	return p.runEnter("--", "-c", script)
}

func runToEnd(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// A screen collects what a terminal shows.
type screen struct {
	*runctest.TerminalProcess
	t     *testing.T
	mu    sync.Mutex
	shown strings.Builder
	from  int
}

// startShell starts enter on a terminal and waits for its prompt.
func (p pod) startShell(args ...string) *screen {
	p.t.Helper()
	s := newScreen(p.t, p.eph.StartTerminal(p.t, p.commandLine(append([]string{"--prompt=pod/app", "--env=TERM=xterm"}, args...)...)...))
	s.expectText("pod/app:")
	return s
}

func newScreen(t *testing.T, terminal *runctest.TerminalProcess) *screen {
	s := &screen{TerminalProcess: terminal, t: t}
	go s.read()
	return s
}

func (s *screen) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := s.Read(buffer)
		s.mu.Lock()
		s.shown.Write(buffer[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// typeText types text.
func (s *screen) typeText(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.File, text); err != nil {
		s.t.Fatal(err)
	}
}

// expectText waits for text after what was expected last.
func (s *screen) expectText(text string) {
	s.t.Helper()
	found := runctest.WaitUntil(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		at := strings.Index(s.shown.String()[s.from:], text)
		if at >= 0 {
			s.from += at + len(text)
		}
		return at >= 0
	})
	if !found {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.t.Fatalf("the terminal did not show %q, but\n%q", text, s.shown.String()[s.from:])
	}
}

// runCommand types a command and waits until it is done.
func (s *screen) runCommand(command string) {
	s.t.Helper()
	s.typeText(command + "\necho do''ne\n")
	s.expectText("done")
	s.expectText("pod/app:")
}

// startForeground starts a program in the foreground and waits until it runs. The subshell
// takes the terminal before it says so: a Ctrl-Z that comes earlier would stop nothing.
func (s *screen) startForeground() {
	s.t.Helper()
	s.typeText("(echo sta''rt; cat)\n")
	s.expectText("start")
}

// stopForeground types Ctrl-Z.
func (s *screen) stopForeground() {
	s.t.Helper()
	s.typeText("\x1a")
	s.expectText("Stopped")
}

// wantExit types "exit" with a code and checks that the shell ends with it.
func (s *screen) wantExit(code int) {
	s.t.Helper()
	s.typeText(fmt.Sprintf("exit %d\n", code))
	if got := s.awaitEnd(); got != code {
		s.t.Errorf("exit code on a terminal = %d, want %d", got, code)
	}
}

// awaitEnd waits for the process on the terminal to end and returns its code.
func (s *screen) awaitEnd() int {
	s.t.Helper()
	if !runctest.WaitUntil(func() bool {
		stat, err := procfs.ReadStat(s.PID)
		return err != nil || stat.Dead()
	}) {
		s.t.Fatalf("process %d, %s, has not ended", s.PID, describeProcess(s.PID))
	}
	return s.Wait()
}

// listLeft describes the processes of the ephemeral container without its manager, but with dead
// ones that nobody waits for.
func (p pod) listLeft() []string {
	p.t.Helper()
	var out []string
	for _, process := range p.listMembers() {
		if process.PID != p.eph.PID {
			out = append(out, describeProcess(process.PID))
		}
	}

	return slices.DeleteFunc(out, func(text string) bool { return text == "" })
}

// listMembers returns the processes of the ephemeral container.
func (p pod) listMembers() []procfs.Stat {
	p.t.Helper()
	members, err := podproc.FindMembers(podproc.ContainerCgroups(p.eph.ID))
	if err != nil {
		p.t.Fatal(err)
	}
	return members
}

// describeProcess tells about a process, or nothing if it has gone.
func describeProcess(pid int) string {
	stat, err := procfs.ReadStat(pid)
	if err != nil {
		return ""
	}
	words, _, _ := procfs.ReadCommandStart(pid, 1<<20)
	return fmt.Sprintf("%d %c (%s) parent %d session %d %q", pid, stat.State, stat.Command, stat.Parent, stat.Session, words)
}
