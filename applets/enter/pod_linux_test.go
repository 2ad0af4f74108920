package enter_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	scratchshell "kdiag/scratch-shell"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == traceArgument {
		os.Exit(traceProcess(os.Args[2]))
	}
	code := m.Run()
	runctest.Cleanup()
	os.Exit(code)
}

// The capabilities that the profiles of "kdiag shell" ask for.
var (
	setnsCaps  = append([]string{"SYS_ADMIN", "SYS_PTRACE"}, runctest.DefaultCaps...)
	chrootCaps = append([]string{"SYS_PTRACE"}, runctest.DefaultCaps...)
)

// pod is a target container and the ephemeral one beside it.
type pod struct {
	t           *testing.T
	target, eph *runctest.Container
	// session is what enter is told to call it.
	session string
}

// with is the pod for a subtest, with a session of its own.
func (p pod) with(t *testing.T) pod { return pod{t, p.target, p.eph, runctest.NewID()[:16]} }

// startPod starts both. The target is a container with one static program,
// which waits and reaps nothing; the ephemeral one runs a manager.
func startPod(t *testing.T, target, eph runctest.Spec) pod {
	t.Helper()
	runctest.Require(t)
	first := startTarget(t, target)
	if eph.PIDsOf == nil {
		eph.PIDsOf = first
	}
	return pod{t, first, startEphemeral(t, eph), runctest.NewID()[:16]}
}

func startTarget(t *testing.T, spec runctest.Spec) *runctest.Container {
	t.Helper()
	files := map[string][]byte{"/app/busybox-server": server(t)}
	for name, content := range spec.Files {
		files[name] = content
	}
	spec.Files = files
	if spec.Args == nil {
		spec.Args = []string{"/app/busybox-server", "sleep", "100000"}
	}
	return runctest.Start(t, spec)
}

// server is the target's program.
func server(t *testing.T) []byte {
	t.Helper()
	shell, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return shell
}

func startEphemeral(t *testing.T, spec runctest.Spec) *runctest.Container {
	t.Helper()
	spec.Binary, spec.ReadOnly = true, true
	if spec.Args == nil {
		spec.Args = []string{"/kdiag", "manager", "--role=shell"}
	}
	return runctest.Start(t, spec)
}

// line is a command line of enter's for the pod's target.
func (p pod) line(args ...string) []string {
	return append([]string{"/kdiag", "enter", "--session=" + p.session, "--container-id=" + p.target.ID}, args...)
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

// enter runs enter without a terminal to its end.
func (p pod) enter(args ...string) result {
	p.t.Helper()
	return output(p.t, p.eph.Exec(p.line(args...)...))
}

// sh runs a script in the target.
func (p pod) sh(script string) result {
	p.t.Helper()
	return p.enter("--", "-c", script)
}

func output(t *testing.T, cmd *exec.Cmd) result {
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

// screen is what a terminal has shown so far.
type screen struct {
	*runctest.Terminal
	t     *testing.T
	mu    sync.Mutex
	shown strings.Builder
	from  int
}

// shell starts enter on a terminal and waits for its prompt.
func (p pod) shell(args ...string) *screen {
	p.t.Helper()
	s := newScreen(p.t, p.eph.Terminal(p.t, p.line(append([]string{"--prompt=pod/app", "--env=TERM=xterm"}, args...)...)...))
	s.expect("pod/app:")
	return s
}

func newScreen(t *testing.T, terminal *runctest.Terminal) *screen {
	s := &screen{Terminal: terminal, t: t}
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

// say types text.
func (s *screen) say(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.File, text); err != nil {
		s.t.Fatal(err)
	}
}

// expect waits for text after what was expected last.
func (s *screen) expect(text string) {
	s.t.Helper()
	found := eventually(func() bool {
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

// run types a command and waits until it is done.
func (s *screen) run(command string) {
	s.t.Helper()
	s.say(command + "\necho do''ne\n")
	s.expect("done")
	s.expect("pod/app:")
}

// ended waits for the process on the terminal to end and returns its code.
func (s *screen) ended() int {
	s.t.Helper()
	if !eventually(func() bool {
		stat, err := procfs.ReadStat(s.PID)
		return err != nil || stat.Dead()
	}) {
		s.t.Fatalf("process %d, %s, has not ended", s.PID, describe(s.PID))
	}
	return s.Wait()
}

// eventually waits until f is true, and gives up long after it should be.
func eventually(f func() bool) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}

// left returns the processes of the ephemeral container but for its manager,
// dead ones that nobody waits for too.
func (p pod) left() []string {
	p.t.Helper()
	pids, err := procfs.List()
	if err != nil {
		p.t.Fatal(err)
	}

	var out []string
	for _, pid := range pids {
		groups, err := procfs.ReadCgroups(pid)
		if err != nil || pid == p.eph.PID || !groups.Name(p.eph.ID) {
			continue
		}
		if text := describe(pid); text != "" {
			out = append(out, text)
		}
	}

	return out
}

// describe tells about a process, or nothing when it is gone.
func describe(pid int) string {
	stat, err := procfs.ReadStat(pid)
	if err != nil {
		return ""
	}
	words, _, _ := procfs.ReadCommandStart(pid, 1<<20)
	return fmt.Sprintf("%d %c (%s) parent %d session %d %q", pid, stat.State, stat.Command, stat.Parent, stat.Session, words)
}
