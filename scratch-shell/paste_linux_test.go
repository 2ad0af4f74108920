package scratchshell

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/testenv"

	"golang.org/x/sys/unix"
)

// startSession starts a shell at a new terminal, in a root that it returns.
func startSession(t *testing.T) (s *session, root string) {
	t.Helper()
	root = newRoot(t)
	cmd := shellCommand(t, root)
	master, slave := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		testenv.Missing(t, "new namespaces: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	slave.Close()
	s = &session{master: master, shell: cmd.Process.Pid}
	s.expect(t, "/ # ")
	return s, root
}

// paste types keys while the terminal's output is read: a shell that cannot write stops reading.
func (s *session) paste(t *testing.T, to reader, keys string) {
	t.Helper()
	if !s.waitFor(t, to, stepTimeout) {
		t.Fatalf("before a paste: want %s; the terminal shows %q", to, s.unread)
	}
	go func() { _, _ = s.master.WriteString(keys) }()
}

// maxLine is how long a line can be at the prompt, in bytes.
const maxLine = 32750

// printLine returns a command of n bytes, or a few less, that counts what it has of a letter. The end of
// the line is not counted.
func printLine(n int, letter string) string {
	const before, after = "printf %s ", " | wc -c -m | tr -s ' ' =\r"
	return before + strings.Repeat(letter, (n-len(before)-len(after)+1)/len(letter)) + after
}

// TestPastedLine pastes lines of all lengths at the prompt: each runs whole, or not at all.
func TestPastedLine(t *testing.T) {
	s, root := startSession(t)
	for _, n := range []int{4094, 4095, 4096, 4097, 8192, 20000, maxLine} {
		line := printLine(n, "x")
		s.paste(t, shellPrompt, line)
		s.expect(t, fmt.Sprintf("\n=%d=%[1]d\r", strings.Count(line, "x")))
	}

	wide := printLine(maxLine, "日")
	s.paste(t, shellPrompt, wide)
	s.expect(t, fmt.Sprintf("\n=%d=%d\r", strings.Count(wide, "日"), 3*strings.Count(wide, "日")))

	// The rest of a here document must not be run as commands.
	for _, letter := range []string{"x", "日"} {
		line := printLine(maxLine+2*len(letter), letter)
		s.paste(t, shellPrompt, "echo begin; cat >/tmp/doc <<E\r"+line+"E\rtouch /tmp/ran\r")
		s.expect(t, "kdiag: the line is longer than 32750 bytes: it was not run, nor was anything pasted after it")
		s.paste(t, shellPrompt, "echo $?; ls /tmp | wc -l\r")
		s.expect(t, "130\r\n0\r\n")
	}
	if entries, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("/tmp has %v (%v), want nothing", entries, err)
	}

	s.paste(t, shellPrompt, printLine(maxLine+1, "x")[:maxLine+1]+"\x15echo o''k\r") // Ctrl-U takes it back
	s.expect(t, "\r\nok")
}

// TestLinePastedWhileBusy pastes lines while a command runs, which the kernel's own line editor takes, and
// cuts to 4,095 bytes: one that it may have cut is refused, any other runs whole.
func TestLinePastedWhileBusy(t *testing.T) {
	s, root := startSession(t)
	gate := filepath.Join(root, "tmp", "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, n := range []int{100, 4094, 4096, 5000, 9000} {
		line := printLine(n, "x")
		whole, refused := fmt.Sprintf("\n=%d=%[1]d\r", strings.Count(line, "x")), "kdiag: while the shell was busy"

		s.send(t, shellPrompt, "cat /tmp/gate\r")
		if !s.waitFor(t, lineProgram, stepTimeout) {
			t.Fatalf("cat does not run; the terminal shows %q", s.unread)
		}
		if _, err := s.master.WriteString(line); err != nil { // the kernel takes it: it drops what it must
			t.Fatal(err)
		}
		s.expect(t, "=\r\n") // its echo: all of it is a line of the kernel's
		if err := os.WriteFile(gate, nil, 0); err != nil {
			t.Fatal(err)
		}

		if n <= 4094 {
			s.expect(t, whole)
		} else {
			s.expect(t, refused)
		}
		s.send(t, shellPrompt, "echo =$?\r")
		s.expect(t, map[bool]string{true: "=0\r\n", false: "=130\r\n"}[n <= 4094])
	}

	// Many short lines are none of its business.
	s.send(t, shellPrompt, "cat /tmp/gate\r")
	s.paste(t, lineProgram, strings.Repeat("n=$((n+1))\r", 1000)+"echo =$n\r")
	if err := os.WriteFile(gate, nil, 0); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "=1000\r\n")
}
