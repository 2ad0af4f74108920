package streamrelay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"
	scratchshell "kdiag/scratch-shell"

	"golang.org/x/sys/unix"
)

// programFD is where "kdiag enter" leaves the shell open (applets/enter).
const programFD = 60

const session = "0123456789abcdef"

// openProgram writes the shell into memory, as "kdiag enter" does.
func openProgram(t *testing.T) *os.File {
	t.Helper()
	program, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("shell", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}

	file := os.NewFile(uintptr(fd), "shell")
	t.Cleanup(func() { _ = file.Close() })
	if _, err = file.Write(program); err != nil {
		t.Fatal(err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return file
}

// newShell returns a shell with a relay, which runs a script.
func newShell(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	program := openProgram(t)
	cmd := exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), program.Fd()))
	cmd.Args = []string{"busybox-kdiag-" + session, "kdiag-relay", "ash", "-c", script}
	cmd.ExtraFiles = make([]*os.File, programFD-2)
	cmd.ExtraFiles[programFD-3] = program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// running is a shell that runs beside a test.
type running struct {
	*Streams
	cmd    *exec.Cmd
	result chan error
	failed chan error
	begun  atomic.Bool
}

// start runs a script with these streams, as an exec does.
func start(t *testing.T, script string, in io.Reader, out, errs io.Writer) *running {
	t.Helper()
	r := &running{cmd: newShell(t, script), result: make(chan error, 1), failed: make(chan error, 3)}
	r.Streams = New(in, out, errs, Calls{
		Begun: func() { r.begun.Store(true) }, Ending: func() {}, Failed: func(err error) { r.failed <- err },
	})
	stdin, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = r.Stdout(), r.Stderr()
	if err = r.cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		_, _ = io.Copy(stdin, r.Stdin())
		_ = stdin.Close()
	}()
	go func() { r.result <- exitError(r.cmd.Wait()) }()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// noCalls returns calls that do nothing.
func noCalls() Calls {
	return Calls{Begun: func() {}, Ending: func() {}, Failed: func(error) {}}
}

// exitError returns what an exec returns.
func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &kube.CommandExitError{Code: 128 + int(status.Signal())}
	}
	return &kube.CommandExitError{Code: exit.ExitCode()}
}

// finish waits for the end.
func (r *running) finish(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		return r.Finish(t.Context().Done(), err)
	case <-time.After(time.Minute):
		t.Fatal("the shell does not end")
		return nil
	}
}

// lineCount counts the lines that are written to it.
type lineCount struct{ lines int }

func (c *lineCount) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// writerAfterBegin fails its test if the relay's greeting was not told of before.
type writerAfterBegin struct {
	t     *testing.T
	begun *atomic.Bool
}

func (w writerAfterBegin) Write(p []byte) (int, error) {
	if !w.begun.Load() {
		w.t.Errorf("%q is written before the relay's greeting was told of", p)
	}
	return len(p), nil
}

// TestRelayTellsOfItsBeginning before anything of the command's is written.
func TestRelayTellsOfItsBeginning(t *testing.T) {
	var begun atomic.Bool
	out := writerAfterBegin{t, &begun}
	calls := noCalls()
	calls.Begun = func() { begun.Store(true) }
	for _, text := range []string{
		wire.RelayGreeting + "r\x00\x00\x00\x02ab" + "o\x00\x00\x00\x02cd",
		wire.RelayGreeting + "o\x00\x00\x00\x02ab" + "r\x00\x00\x00\x02cd",
	} {
		for cut := range text {
			begun.Store(false)
			s := New(strings.NewReader(""), out, out, calls)
			_, _ = io.WriteString(s.Stdout(), text[:cut])
			_, _ = io.WriteString(s.Stdout(), text[cut:])
			_ = s.Finish(nil, nil)
		}
	}

	for cut := range aBegin {
		begun.Store(false)
		term := NewTerminal(aSession, strings.NewReader(""), out, calls)
		_, _ = io.WriteString(term, aBegin[:cut])
		_, _ = io.WriteString(term, aBegin[cut:]+"shown")
	}
}

// TestRelay carries all three streams, both ways, and the exit code.
func TestRelay(t *testing.T) {
	for _, c := range []struct {
		script, in, out, errs string
		code                  int
	}{
		{"echo out; echo err >&2; exit 7", "", "out\n", "err\n", 7},
		{"cat", strings.Repeat("0123456789abcde\n", 200_000), strings.Repeat("0123456789abcde\n", 200_000), "", 0},
		{"cat >&2", "x", "", "x", 0},
		{"read a; echo $a", "one\ntwo\n", "one\n", "", 0},
		{"kill -KILL $$", "", "", "", 137},
		{"kill -STOP $$; echo goes on", "", "goes on\n", "", 0},
		{"trap : TERM; kill 0; echo alone in its group", "", "alone in its group\n", "", 0},
		{"(sleep 0.1; echo late) & echo soon", "", "soon\nlate\n", "", 0},
		{"exec <&-; echo no input", strings.Repeat("x", 3<<20), "no input\n", "", 0},
		{"tr '\\0' ' ' < /proc/$$/cmdline | cut -d' ' -f2,3", "", "ash -c\n", "", 0},
	} {
		var out, errs bytes.Buffer
		r := start(t, c.script, strings.NewReader(c.in), &out, &errs)
		err := r.finish(t)
		var exit *kube.CommandExitError
		if errors.As(err, &exit) != (c.code != 0) || exit != nil && exit.Code != c.code || exit == nil && err != nil {
			t.Errorf("%s: %v, want code %d", c.script, err, c.code)
		}
		if !r.begun.Load() {
			t.Errorf("%s: the relay's greeting was not told of", c.script)
		}
		if out.String() != c.out || errs.String() != c.errs {
			t.Errorf("%s: %d bytes of stdout, stderr %q, want %d and %q", c.script, out.Len(), &errs, len(c.out), c.errs)
		}
	}
}

// blockingWriter takes nothing until it is opened.
type blockingWriter struct {
	lineCount
	open chan struct{}
}

func (w *blockingWriter) Write(p []byte) (int, error) {
	<-w.open
	return w.lineCount.Write(p)
}

// TestRelayAndReaderThatWaits keeps the connection free, and the two outputs apart: more than there
// is room for waits in the pod.
func TestRelayAndReaderThatWaits(t *testing.T) {
	read, write := io.Pipe()
	out := &blockingWriter{open: make(chan struct{})}
	r := start(t, "seq 1 2000000 & cat >&2; wait", strings.NewReader("note\n"), out, write)

	note := make([]byte, 5)
	if _, err := io.ReadFull(read, note); err != nil || string(note) != "note\n" {
		t.Fatalf("stderr = %q, %v, want the note, though nobody reads stdout", note, err)
	}
	close(out.open)
	if err := r.finish(t); err != nil || out.lines != 2_000_000 {
		t.Errorf("the shell: %v with %d lines, want all 2000000", err, out.lines)
	}
}

// countingWriter counts what is written to it, and tells of it.
type countingWriter struct{ tell func(n int) }

func (w countingWriter) Write(p []byte) (int, error) {
	w.tell(len(p))
	return len(p), nil
}

// TestRelayIsFair gives either output its share, though a program writes to both without end.
func TestRelayIsFair(t *testing.T) {
	const all, share = 128 << 20, 16 << 20
	for name, script := range map[string]string{
		"stderr": "cat /dev/zero & exec cat /dev/zero >&2",
		"stdout": "cat /dev/zero >&2 & exec cat /dev/zero",
	} {
		var mu sync.Mutex
		came := map[string]int{}
		enough := make(chan struct{})
		count := func(output string) countingWriter {
			return countingWriter{func(n int) {
				mu.Lock()
				defer mu.Unlock()
				before := came["stdout"] + came["stderr"]
				came[output] += n
				if before < all && before+n >= all {
					close(enough)
				}
			}}
		}

		r := start(t, script, strings.NewReader(""), count("stdout"), count("stderr"))
		<-enough
		mu.Lock()
		if came[name] < share {
			t.Errorf("%d bytes of stdout and %d of stderr came, want at least %d of each", came["stdout"], came["stderr"], share)
		}
		mu.Unlock()
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		_ = r.finish(t)
	}
}

// TestRelayAndInputThatWaits never gives the connection more of stdin than the pod has room for.
func TestRelayAndInputThatWaits(t *testing.T) {
	s := New(strings.NewReader(strings.Repeat("x", 3<<20)), io.Discard, io.Discard, noCalls())
	var mu sync.Mutex
	sent, quiet := 0, time.NewTimer(time.Minute)
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			n, err := s.Stdin().Read(buffer)
			mu.Lock()
			sent += n
			full := sent >= wire.RelayInputRoom
			mu.Unlock()
			if err != nil {
				return
			}
			if full {
				quiet.Reset(200 * time.Millisecond)
			}
		}
	}()

	<-quiet.C
	mu.Lock()
	defer mu.Unlock()
	if most := wire.RelayInputRoom + 100*wire.RelayHeadSize; sent > most || sent < wire.RelayInputRoom {
		t.Errorf("%d bytes were sent to a pod that reads none, want %d and the heads of frames", sent, wire.RelayInputRoom)
	}
	_ = s.Finish(nil, nil)
}

// TestRelayIsCut never takes what is missing for an end.
func TestRelayIsCut(t *testing.T) {
	greeting := wire.RelayGreeting
	code := func(n int) error { return &kube.CommandExitError{Code: n} }
	lost := errors.New("connection lost")
	for _, c := range []struct {
		name, stdout string
		err, want    error
	}{
		{"nothing came", "", nil, errCut},
		{"the server says that all is well", greeting + "o\x00\x00\x00\x02a", nil, errCut},
		{"a code came before the output", greeting + "o\x00\x00\x00\x02a", code(3), errCut},
		{"the relay was killed", greeting + "o\x00\x00\x00\x02a", code(137), code(137)},
		{"the launcher failed", "", code(1), code(1)},
		{"the connection broke", greeting, lost, lost},
		{"the end came, then the connection broke", greeting + "x\x00\x00\x00\x00", lost, nil},
		{"the end came with a code", greeting + "x\x00\x00\x00\x05", nil, code(5)},
	} {
		s := New(strings.NewReader(""), io.Discard, io.Discard, noCalls())
		_, _ = io.WriteString(s.Stdout(), c.stdout)
		if err := s.Finish(nil, c.err); fmt.Sprint(err) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestRelayRefuses what breaks the rules.
func TestRelayRefuses(t *testing.T) {
	much := string(wire.AppendRelayHead(nil, wire.RelayOutput, 1<<30))
	for _, stdout := range []string{
		"bash: no such file\n", wire.RelayGreeting + "?\x00\x00\x00\x00", wire.RelayGreeting + much + strings.Repeat("x", 9<<20),
	} {
		var failure error
		blocked := &blockingWriter{open: make(chan struct{})}
		calls := noCalls()
		calls.Failed = func(err error) { failure = err }
		s := New(strings.NewReader(""), blocked, io.Discard, calls)
		_, err := io.WriteString(s.Stdout(), stdout)
		close(blocked.open)
		if err == nil || failure == nil || s.Finish(nil, nil) == nil {
			t.Errorf("%.20q: %v, failure %v, want an error", stdout, err, failure)
		}
	}
}

// TestRelayOutputFails ends the exec with the reason.
func TestRelayOutputFails(t *testing.T) {
	full := errors.New("no space left on device")
	r := start(t, "yes", strings.NewReader(""), failingWriter{full}, io.Discard)
	if err := <-r.failed; !errors.Is(err, full) {
		t.Errorf("failed with %v, want %v", err, full)
	}
	_ = r.cmd.Process.Kill()
	if err := r.finish(t); !errors.Is(err, full) {
		t.Errorf("Finish = %v, want %v", err, full)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestRelayLosesLaptop ends the shell's input and lets it end by itself, and stays behind in no
// case.
func TestRelayLosesLaptop(t *testing.T) {
	cmd := newShell(t, "cat; yes | head -c 10000000; exit 3")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close()

	if err := exitError(cmd.Wait()); fmt.Sprint(err) != "exit code 3" {
		t.Errorf("the relay: %v, want the shell's code 3", err)
	}
}
