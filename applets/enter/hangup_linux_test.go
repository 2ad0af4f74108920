package enter_test

import (
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
)

// line is a lifeline, held by its stdin.
type line struct {
	*exec.Cmd
	stdin io.Closer
	t     *testing.T
}

func (p pod) lifeline() line {
	p.t.Helper()
	cmd := p.eph.Exec("/kdiag", "enter", "--lifeline", "--session="+p.session)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return line{cmd, stdin, p.t}
}

// awaitLifeline waits until a lifeline of the session's is there: until then it
// is the runtime's "runc init".
func (p pod) awaitLifeline() {
	p.t.Helper()
	there := func() bool {
		pids, err := procfs.List()
		if err != nil {
			p.t.Fatal(err)
		}
		return slices.ContainsFunc(pids, func(pid int) bool {
			words, _, _ := procfs.ReadCommandStart(pid, 1<<20)
			return slices.Contains(words, "--lifeline") && slices.Contains(words, "--session="+p.session) && words[0] == "/kdiag"
		})
	}

	if !eventually(there) {
		p.t.Fatal("no lifeline has started")
	}
}

// drop lets the line go, as the end of the user's side does, and waits for
// what it does then.
func (l line) drop() {
	l.t.Helper()
	_ = l.stdin.Close()
	if err := l.Wait(); err != nil {
		l.t.Errorf("lifeline: %v", err)
	}
}

func TestHangUp(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	for _, c := range []struct {
		name string
		// do prepares a session at its prompt.
		do func(s *screen)
	}{
		{"at the prompt", func(*screen) {}},
		{"half a line typed", func(s *screen) { s.say("echo half"); s.expect("half") }},
		{"job in the background", func(s *screen) { s.run("sleep 1000 &") }},
		{"many jobs", func(s *screen) {
			for range 20 {
				s.run("sleep 1000 | cat &")
			}
		}},
		{"program in the foreground", func(s *screen) { s.say("echo sta''rt; cat\n"); s.expect("start") }},
		{"editor", func(s *screen) { s.say("vi /tmp/x\n"); s.expect("~") }},
		{"stopped job", func(s *screen) {
			s.say("echo sta''rt; cat\n")
			s.expect("start")
			s.say("line\n")
			s.expect("line\r\nline")
			s.say("\x1a")
			s.expect("Stopped")
		}},
		{"endless loop", func(s *screen) { s.say("while :; do sleep 0.01; echo tu''rn; done\n"); s.expect("turn") }},
		{"orphan", func(s *screen) { s.run("(sleep 1000 &)") }},
		{"subshell that works", func(s *screen) { s.run("(while :; do sleep 0.01; done) &") }},
		{"program that survives SIGHUP", func(s *screen) {
			s.run("sh -c 'trap : HUP; echo re''ady; while :; do sleep 1; done' &")
		}},
		{"other program in the shell's place", func(s *screen) {
			s.say("echo sta''rt; exec cat\n")
			s.expect("start")
			s.say("x\n")
			s.expect("x\r\nx")
		}},
		{"shell that ignores SIGHUP", func(s *screen) { s.run("trap '' HUP") }},
		{"writer", func(s *screen) { s.say("yes\n"); s.expect("y\r\ny") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := p.with(t)
			before := p.left()
			s := p.shell()
			l := p.lifeline()
			c.do(s)
			l.drop()
			s.ended()
			left := slices.DeleteFunc(p.left(), func(line string) bool { return slices.Contains(before, line) })
			if len(left) > 0 {
				t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// TestHangUpUnread is about a terminal that nobody reads any more, so that the
// shell hangs in writing.
func TestHangUpUnread(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	s := p.shell()
	l := p.lifeline()
	s.say("yes\n")
	s.expect("y\r\ny")
	s.mu.Lock() // stops the reader
	defer s.mu.Unlock()
	l.drop()
	s.ended()
	if left := p.left(); len(left) > 0 {
		t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
	}
}

// TestHangUpCommand is about sessions without a terminal.
func TestHangUpCommand(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	for _, script := range []string{
		"echo ready; sleep 1000",
		"echo ready; exec cat /dev/zero >/dev/null",
		"echo ready; sleep 1000; sleep 1000; exit 3",
		"echo ready; sleep 1000 | cat",
		"echo ready; sleep 1000 & wait",
	} {
		t.Run(script, func(t *testing.T) {
			p := p.with(t)
			cmd := p.eph.Exec(p.line("--", "-c", script)...)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}

			ready := make([]byte, len("ready\n"))
			if _, err := io.ReadFull(stdout, ready); err != nil {
				t.Fatal(err)
			}

			l := p.lifeline()
			l.drop()
			_ = cmd.Wait()
			if left := p.left(); len(left) > 0 {
				t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// TestHangUpSpares is about what outlives a session: what ignores SIGHUP and
// what has a session of its own.
func TestHangUpSpares(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	s := p.shell()
	l := p.lifeline()
	s.run("nohup sleep 1001 >/dev/null 2>&1 &")
	s.run("setsid sleep 1002 &")
	s.run("sleep 1003 &")
	// Until then they are the shell's forks, which have not left it yet.
	if !eventually(func() bool {
		now := commands(p)
		return slices.Contains(now, "sleep 1001") && slices.Contains(now, "sleep 1002")
	}) {
		t.Fatal(p.left())
	}

	l.drop()
	s.ended()
	p.wantLeft("sleep 1001", "sleep 1002")
	// It finds no session any more; "setsid" leads one, but not this.
	p.lifeline().drop()
	p.wantLeft("sleep 1001", "sleep 1002")
}

// TestHangUpOfNohup is about a command that ignores SIGHUP and has taken the
// shell's place.
func TestHangUpOfNohup(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	s := p.shell()
	s.say("exec nohup sleep 1001\n")
	if !eventually(func() bool { return slices.Equal(commands(p), []string{"sleep 1001"}) }) {
		t.Fatal(p.left())
	}

	p.lifeline().drop()
	p.wantLeft("sleep 1001")
	if stat, err := procfs.ReadStat(s.PID); err != nil || stat.State == 'T' {
		t.Errorf("%s, want that it goes on", describe(s.PID))
	}
}

// TestHangUpAfterEnd is about a shell that ended by itself: its jobs stay.
func TestHangUpAfterEnd(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	l := p.lifeline()
	p.awaitLifeline()
	// Without a terminal, whose end would hang the job up.
	cmd := p.eph.Exec(p.line("--", "-c", "sleep 1001 </dev/null >/dev/null 2>&1 & exit 5")...)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 5 {
		t.Fatalf("exit code of the shell = %v, want 5", err)
	}

	p.wantLeft("sleep 1001")
	l.drop()
	p.wantLeft("sleep 1001")
}

// TestHangUpOfOthers has two sessions, of which one is hung up.
func TestHangUpOfOthers(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps}, runctest.Spec{Caps: setnsCaps})
	other := p.with(t)
	kept := other.shell()
	kept.run("sleep 1002 &")
	s := p.shell()
	s.run("sleep 1001 &")
	p.lifeline().drop()
	s.ended()
	kept.run("jobs")
	if got := commands(p); !slices.Contains(got, "sleep 1002") || slices.Contains(got, "sleep 1001") {
		t.Errorf("left of two sessions after the hang-up of one: %q", got)
	}
}

// TestHangUpAsTarget is about a session with another user's rights.
func TestHangUpAsTarget(t *testing.T) {
	p := startPod(t, runctest.Spec{Caps: runctest.DefaultCaps, UID: 1000, GID: 1000}, runctest.Spec{Caps: runctest.DefaultCaps})
	s := p.shell("--as-target")
	s.run("sleep 1001 &")
	p.lifeline().drop()
	s.ended()
	if left := p.left(); len(left) > 0 {
		t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
	}
}

// commands are the command lines of the living processes beside the manager.
func commands(p pod) []string {
	p.t.Helper()
	var out []string
	pids, err := procfs.List()
	if err != nil {
		p.t.Fatal(err)
	}

	for _, pid := range pids {
		groups, err := procfs.ReadCgroups(pid)
		if err != nil || pid == p.eph.PID || !groups.Name(p.eph.ID) {
			continue
		}
		stat, err := procfs.ReadStat(pid)
		words, _, _ := procfs.ReadCommandStart(pid, 1<<20)
		if err == nil && !stat.Dead() && !slices.Contains(words, "--lifeline") {
			out = append(out, strings.Join(words, " "))
		}
	}

	slices.Sort(out)
	return out
}

// wantLeft checks which commands live.
func (p pod) wantLeft(want ...string) {
	p.t.Helper()
	if got := commands(p); !slices.Equal(got, want) {
		p.t.Errorf("living commands = %q, want %q", got, want)
	}
}
