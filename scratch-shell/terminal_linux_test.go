package scratchshell

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// openTerminal returns the two ends of a new pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		skip(t, "no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatalf("size of the terminal: %v", err)
	}
	return master, slave
}

// A session as a user types it. Nothing of it may stay behind in the target.
func TestTerminal(t *testing.T) {
	root := newRoot(t)
	cmd := command(t, root)
	master, slave := openTerminal(t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		skip(t, "new namespaces: %v", err)
	}
	defer func() { _ = cmd.Process.Kill() }()

	slave.Close()

	steps := []struct{ send, expect string }{
		{"", "/ # "},
		{"netst\t --help\r", "Usage: netstat"},
		{"trace\t\t", "traceroute6"},
		{"\x15echo $((6 * 7))\r", "42\r\n"},
		{"\x12((6\r", "42\r\n"},    // reverse search
		{"\x1b[A\r", "42\r\n"},     // the arrow
		{"PS1='\\w> '\r", "\n/> "}, // the prompt's escapes
		{"cd home\r", "/home> "},
		{"sh -c 'echo u''p; cat'\r", "up\r\n"},
		{"\x1a", "Stopped"},
		{"jobs\r", "cat"},
		{"fg\r", "cat"},
		// The shell names the job before it gives it the terminal.
		{"again\r", "again\r\nagain"},
		{"\x03", "^C"},
		{"echo =$?\r", "=130"},
		{"seq 200 | less\r", "standard input"},
		{"G", "200"},
		{"q\rstty size\r", "24 80"},
		{"vi\r", "~"},
		{":!seq 41 43\r", "42\r\n43\r\n"},
		{"\r:q!\r", "/home> "},
		{"watch seq 41 43\r", "43\r\n"},
		{"\x03", "/home> "},
		{"reset\r", "/home> "},
		{"exit 3\r", ""},
	}

	var seen strings.Builder
	for _, step := range steps {
		// A program takes a moment to come to the foreground, and to set the terminal to raw and back.
		time.Sleep(200 * time.Millisecond)
		seen.Reset()
		if _, err := master.WriteString(step.send); err != nil {
			t.Fatal(err)
		}
		if step.expect == "" {
			break
		}
		if err := master.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}

		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), step.expect) {
			n, err := master.Read(buf)
			if err != nil {
				t.Fatalf("after %q: got %q, want %q (%v)", step.send, seen.String(), step.expect, err)
			}
			seen.Write(buf[:n])
		}
	}

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
