package kit

import (
	"bytes"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process carries a command that runs in the background. It is killed at the end
// of its test.
type Process struct {
	Stdout, Stderr *Output

	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed once all output is there, and the result
}

// StartKdiag starts the tested binary without waiting for its end.
func StartKdiag(t *testing.T, args ...string) *Process {
	t.Helper()
	return StartKdiagWith(t, nil, args...)
}

// StartKdiagWith starts the tested binary with more environment.
func StartKdiagWith(t *testing.T, env []string, args ...string) *Process {
	t.Helper()
	p := newProcess(t, env, BinaryPath(), args)
	p.start()
	return p
}

// StartProgram starts another program than the tested binary.
func StartProgram(t *testing.T, env []string, name string, args ...string) *Process {
	t.Helper()
	p := newProcess(t, env, name, args)
	p.start()
	return p
}

// StartKubectl starts kubectl as the cluster's admin. Its stdin stays open until
// CloseStdin.
func StartKubectl(t *testing.T, args ...string) *Process {
	t.Helper()
	p := newProcess(t, nil, "kubectl", args)
	p.openStdin()
	p.start()
	return p
}

// StartKdiagWithStdin starts the tested binary in the background, with a stdin that stays open until
// CloseStdin.
func StartKdiagWithStdin(t *testing.T, args ...string) *Process {
	t.Helper()
	p := newProcess(t, nil, BinaryPath(), args)
	p.openStdin()
	p.start()
	return p
}

// newProcess prepares a process whose output is collected.
func newProcess(t *testing.T, env []string, name string, args []string) *Process {
	p := &Process{Stdout: &Output{}, Stderr: &Output{}, t: t, ended: make(chan struct{})}
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = Environment(env...)
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	// What it has started may hold its output open beyond its end.
	p.cmd.WaitDelay = 20 * time.Second
	return p
}

// openStdin gives the process a stdin that stays open until CloseStdin.
func (p *Process) openStdin() {
	p.t.Helper()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.stdin = stdin
}

// start starts the process and watches for its end.
func (p *Process) start() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}

	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()

	p.t.Cleanup(func() {
		p.Signal(syscall.SIGKILL)
		<-p.ended
	})
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process, if it still runs.
func (p *Process) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// Interrupt sends what Ctrl-C does, and waits for the end.
func (p *Process) Interrupt() Result {
	p.t.Helper()
	p.Signal(syscall.SIGINT)
	return p.WaitForEnd()
}

// Stop terminates the process and waits for its end.
func (p *Process) Stop() Result {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.WaitForEnd()
}

// WriteStdin writes to the process's stdin.
func (p *Process) WriteStdin(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, text); err != nil {
		p.t.Fatal(err)
	}
}

// CloseStdin ends the process's stdin, and so a command such as cat that kdiag
// runs, and waits for the end.
func (p *Process) CloseStdin() Result {
	p.t.Helper()
	_ = p.stdin.Close()
	return p.WaitForEnd()
}

// WaitForEnd waits until the process has ended.
func (p *Process) WaitForEnd() Result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%q does not end: %s", p.cmd.Args, p.Stderr)
	}
	return Result{p.Stdout.String(), p.Stderr.String(), p.cmd.ProcessState.ExitCode()}
}

// HasEnded tells whether the process has ended.
func (p *Process) HasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// WaitForOutput waits until the process has printed a text, on stdout or stderr.
func (p *Process) WaitForOutput(text string) {
	p.t.Helper()
	p.waitUntil(strconv.Quote(text), func() bool {
		return strings.Contains(p.Stdout.String(), text) || strings.Contains(p.Stderr.String(), text)
	})
}

// WaitForLines waits until the process has printed so many lines on stdout, and
// returns them.
func (p *Process) WaitForLines(many int) []string {
	p.t.Helper()
	var lines []string
	p.waitUntil(strconv.Itoa(many)+" lines", func() bool {
		lines = strings.SplitAfter(p.Stdout.String(), "\n")
		return len(lines) > many
	})
	return lines[:many]
}

// waitUntil waits until a condition on the output holds. It fails the test as
// soon as the process has ended without.
func (p *Process) waitUntil(what string, holds func() bool) {
	p.t.Helper()
	WaitUntil(p.t, what, func() bool {
		ended := p.HasEnded()
		if holds() {
			return true
		}
		if ended {
			p.t.Fatalf("%q ended before %s: %v", p.cmd.Args, what, p.WaitForEnd())
		}
		return false
	})
}

// Output collects what a process writes. It may be read meanwhile.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to what has been written.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns what has been written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
