package scratchshell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kdiag/integration/testenv"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		testenv.Missing(t, "no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { slave.Close() })

	// Package pty has made it blocking, which lets no read time out.
	fd, err := unix.Dup(int(master.Fd()))
	master.Close()
	if err = errors.Join(err, unix.SetNonblock(fd, true)); err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(fd), "terminal")
	t.Cleanup(func() { master.Close() })

	if err := pty.Setsize(slave, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatalf("size of the terminal: %v", err)
	}

	return master, slave
}

// reader is who reads what is typed at a terminal.
type reader string

const (
	shellPrompt reader = "the shell's prompt"
	rawProgram  reader = "a program that reads keys"
	lineProgram reader = "a program that reads lines"
)

// terminalReader tells who reads from a terminal: the terminal's foreground process
// group tells the shell from programs, and its mode tells keys from lines.
func terminalReader(t *testing.T, master *os.File, shell int) reader {
	t.Helper()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}

	var group uint32
	var state *unix.Termios
	var groupErr, stateErr error
	err = raw.Control(func(fd uintptr) {
		group, groupErr = unix.IoctlGetUint32(int(fd), unix.TIOCGPGRP)
		state, stateErr = unix.IoctlGetTermios(int(fd), unix.TCGETS)
	})
	if err := errors.Join(err, groupErr, stateErr); err != nil {
		t.Fatal(err)
	}

	switch isRaw := state.Lflag&unix.ICANON == 0; {
	case int(group) == shell && isRaw:
		return shellPrompt
	case int(group) == shell:
		return "" // the shell is about to start something, or to prompt
	case isRaw:
		return rawProgram
	}

	return lineProgram
}

// session is a shell at a terminal, as a user has it.
type session struct {
	master *os.File
	shell  int
	// unread is what the terminal has shown since the last text that was expected.
	unread string
}

// send types keys as soon as the one who should read them does.
func (s *session) send(t *testing.T, to reader, keys string) {
	t.Helper()
	if !s.waitFor(t, to, stepTimeout) {
		t.Fatalf("before %q: want %s; the terminal shows %q", keys, to, s.unread)
	}
	if _, err := s.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// interrupt presses Ctrl-C until the shell prompts. Once is not enough for watch,
// which ignores it while its command runs.
func (s *session) interrupt(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(stepTimeout); time.Now().Before(end); {
		s.send(t, lineProgram, "\x03")
		if s.waitFor(t, shellPrompt, 100*time.Millisecond) {
			return
		}
	}
	t.Fatalf("Ctrl-C does not lead back to the shell; the terminal shows %q", s.unread)
}

// waitFor reports whether who reads from the terminal is the wanted one in time.
func (s *session) waitFor(t *testing.T, to reader, timeout time.Duration) bool {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if terminalReader(t, s.master, s.shell) == to {
			return true
		}
	}
	return false
}

// expect waits until the terminal shows a text.
func (s *session) expect(t *testing.T, text string) {
	t.Helper()
	if err := s.master.SetReadDeadline(time.Now().Add(stepTimeout)); err != nil {
		t.Fatal(err)
	}

	buf := make([]byte, 4096)
	for {
		if _, after, ok := strings.Cut(s.unread, text); ok {
			s.unread = after
			return
		}

		n, err := s.master.Read(buf)
		if err != nil {
			t.Fatalf("the terminal shows %q, want %q (%v)", s.unread[max(0, len(s.unread)-500):], text, err)
		}
		s.unread += string(buf[:n])
	}
}

// stepTimeout limits each wait of a session.
const stepTimeout = 10 * time.Second

// TestTerminal types what a user might type in a session, and checks that the session
// leaves nothing behind in the target.
func TestTerminal(t *testing.T) {
	// A script that starts the test in the background has it ignore SIGINT, and the
	// shell's programs would inherit that.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, unix.SIGINT)
	defer signal.Stop(interrupts)

	root := newRoot(t)
	cmd := shellCommand(t, root)
	master, slave := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		testenv.Missing(t, "new namespaces: %v", err)
	}
	defer func() { _ = cmd.Process.Kill() }()

	slave.Close()

	steps := []struct {
		to     reader
		keys   string
		expect []string
	}{
		{shellPrompt, "netst\t --help\r", []string{"Usage: netstat"}},
		{shellPrompt, "trace\t\t", []string{"traceroute6"}},
		{shellPrompt, "\x15echo $((6 * 7))\r", []string{"42\r\n"}},
		{shellPrompt, "\x12((6\r", []string{"42\r\n"}},    // reverse search
		{shellPrompt, "\x1b[A\r", []string{"42\r\n"}},     // the arrow
		{shellPrompt, "PS1='\\w> '\r", []string{"\n/> "}}, // the prompt's escapes
		{shellPrompt, "cd home\r", []string{"/home> "}},
		{shellPrompt, "sh -c 'echo u''p; cat'\r", []string{"up\r\n"}},
		{lineProgram, "\x1a", []string{"Stopped", "/home> "}},
		{shellPrompt, "jobs\r", []string{"cat", "/home> "}},
		{shellPrompt, "fg\r", []string{"cat"}},
		{lineProgram, "again\r", []string{"again\r\nagain"}},
		{lineProgram, "\x03", []string{"^C"}},
		{shellPrompt, "echo =$?\r", []string{"=130"}},
		{shellPrompt, "seq 200 | less\r", []string{"standard input"}},
		{rawProgram, "G", []string{"200"}},
		{rawProgram, "q", nil},
		{shellPrompt, "stty size\r", []string{"24 80"}},
		{shellPrompt, "vi\r", []string{"~"}},
		{rawProgram, ":!seq 41 43\r", []string{"42\r\n43\r\n"}},
		{rawProgram, "\r:q!\r", []string{"/home> "}},
		{shellPrompt, "reset\r", []string{"/home> "}},
		{shellPrompt, "watch seq 41 43\r", []string{"42\r\n43\r\n"}},
	}

	s := &session{master: master, shell: cmd.Process.Pid}
	s.expect(t, "/ # ")
	for _, step := range steps {
		s.send(t, step.to, step.keys)
		for _, text := range step.expect {
			s.expect(t, text)
		}
	}

	s.interrupt(t)
	s.send(t, shellPrompt, "exit 3\r")
	_ = cmd.Wait()
	if got, want := cmd.ProcessState.ExitCode(), 3; got != want {
		t.Errorf("exit code = %d, want %d", got, want)
	}

	want := []string{".", "dev", "dev/null", "dev/urandom", "home", "proc", "tmp"}
	var got []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		got = append(got, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the session left %v, want %v only", got, want)
	}
}
