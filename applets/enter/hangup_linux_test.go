package enter_test

import (
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

// A heldLifeline is a lifeline whose stdin the test holds open.
type heldLifeline struct {
	*exec.Cmd
	stdin io.Closer
	t     *testing.T
}

// startLifeline starts the session's lifeline.
func (p pod) startLifeline() heldLifeline {
	p.t.Helper()
	cmd := p.eph.ExecCommand("/kdiag", "enter", "--lifeline", "--session="+p.session)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return heldLifeline{cmd, stdin, p.t}
}

// awaitLifeline waits until the session's lifeline has started: until then the process is the
// runtime's "runc init".
func (p pod) awaitLifeline() {
	p.t.Helper()
	there := func() bool {
		pids, err := procfs.ListPIDs()
		if err != nil {
			p.t.Fatal(err)
		}
		return slices.ContainsFunc(pids, func(pid int) bool {
			words, _, _ := procfs.ReadCommandStart(pid, 1<<20)
			return slices.Contains(words, "--lifeline") && slices.Contains(words, "--session="+p.session) && words[0] == "/kdiag"
		})
	}

	if !runctest.WaitUntil(there) {
		p.t.Fatal("no lifeline has started")
	}
}

// letGo closes the lifeline's stdin, as the end of the laptop's side does, and waits for its end.
func (l heldLifeline) letGo() {
	l.t.Helper()
	_ = l.stdin.Close()
	if err := l.Wait(); err != nil {
		l.t.Errorf("lifeline: %v", err)
	}
}

func TestHangUp(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	cases := []struct {
		name string
		// prepare starts something in a session that is at its prompt.
		prepare func(s *screen)
	}{
		{"at the prompt", func(*screen) {}},
		{"half a line typed", func(s *screen) { s.typeText("echo half"); s.expectText("half") }},
		{"job in the background", func(s *screen) { s.runCommand("sleep 1000 &") }},
		{"many jobs", func(s *screen) {
			for range 20 {
				s.runCommand("sleep 1000 | cat &")
			}
		}},
		{"program in the foreground", (*screen).startForeground},
		{"editor", func(s *screen) { s.typeText("vi /tmp/x\n"); s.expectText("~") }},
		{"stopped job", func(s *screen) {
			s.startForeground()
			s.typeText("line\n")
			s.expectText("line\r\nline")
			s.stopForeground()
		}},
		{"endless loop", func(s *screen) { s.typeText("while :; do sleep 0.01; echo tu''rn; done\n"); s.expectText("turn") }},
		{"orphan", func(s *screen) { s.runCommand("(sleep 1000 &)") }},
		{"subshell that works", func(s *screen) { s.runCommand("(while :; do sleep 0.01; done) &") }},
		{"program that survives SIGHUP", func(s *screen) {
			s.runCommand("sh -c 'trap : HUP; echo re''ady; while :; do sleep 1; done' &")
		}},
		{"other program in the shell's place", func(s *screen) {
			s.typeText("echo sta''rt; exec cat\n")
			s.expectText("start")
			s.typeText("x\n")
			s.expectText("x\r\nx")
		}},
		{"shell that ignores SIGHUP", func(s *screen) { s.runCommand("trap '' HUP") }},
		{"writer", func(s *screen) { s.typeText("yes\n"); s.expectText("y\r\ny") }},
	}

	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// The relay is what laptops ask for: it reaps what a shell leaves behind.
			p := p.withSession(t)
			before := p.listLeft()

			s := p.startShell("--relay")
			l := p.startLifeline()
			c.prepare(s)

			l.letGo()
			s.awaitEnd()
			left := slices.DeleteFunc(p.listLeft(), func(line string) bool { return slices.Contains(before, line) })
			if len(left) > 0 {
				t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// verifyNothingLeft fails the test for processes that outlive the session.
func (p *pod) verifyNothingLeft(t *testing.T) {
	t.Helper()
	if left := p.listLeft(); len(left) > 0 {
		t.Errorf("left after the hang-up:\n%s", strings.Join(left, "\n"))
	}
}

// TestHangUpUnread hangs up a shell whose terminal nobody reads any more, so that it hangs in
// writing.
func TestHangUpUnread(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	s := p.startShell()
	l := p.startLifeline()
	s.typeText("yes\n")
	s.expectText("y\r\ny")

	s.mu.Lock() // stops the reader
	defer s.mu.Unlock()

	l.letGo()
	s.awaitEnd()
	p.verifyNothingLeft(t)
}

// TestHangUpCommand hangs up sessions without a terminal.
func TestHangUpCommand(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	for _, script := range []string{
		"echo ready; sleep 1000",
		"echo ready; exec cat /dev/zero >/dev/null",
		"echo ready; sleep 1000; sleep 1000; exit 3",
		"echo ready; sleep 1000 | cat",
		"echo ready; sleep 1000 & wait",
	} {
		t.Run(script, func(t *testing.T) {
			p := p.withSession(t)
			cmd := p.eph.ExecCommand(p.commandLine("--", "-c", script)...)
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

			l := p.startLifeline()
			l.letGo()
			_ = cmd.Wait()
			p.verifyNothingLeft(t)
		})
	}
}

// TestHangUpSpares leaves alone what outlives a session: what ignores SIGHUP, and what has a
// session of its own.
func TestHangUpSpares(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	s := p.startShell()
	l := p.startLifeline()
	s.runCommand("nohup sleep 1001 >/dev/null 2>&1 &")
	s.runCommand("setsid sleep 1002 &")
	s.runCommand("sleep 1003 &")
	// Until then they are the shell's forks, which have not left it yet.
	if !runctest.WaitUntil(func() bool {
		now := listCommands(p)
		return slices.Contains(now, "sleep 1001") && slices.Contains(now, "sleep 1002")
	}) {
		t.Fatal(p.listLeft())
	}

	l.letGo()
	s.awaitEnd()
	p.wantLeft("sleep 1001", "sleep 1002")
	// It finds no session any more; "setsid" leads one, but not this.
	p.startLifeline().letGo()
	p.wantLeft("sleep 1001", "sleep 1002")
}

// TestHangUpOfNohup leaves alone a command that ignores SIGHUP and has taken the shell's place.
func TestHangUpOfNohup(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	s := p.startShell()
	s.typeText("exec nohup sleep 1001\n")
	if !runctest.WaitUntil(func() bool { return slices.Equal(listCommands(p), []string{"sleep 1001"}) }) {
		t.Fatal(p.listLeft())
	}

	p.startLifeline().letGo()
	p.wantLeft("sleep 1001")
	if stat, err := procfs.ReadStat(s.PID); err != nil || stat.State == 'T' {
		t.Errorf("%s, want that it goes on", describeProcess(s.PID))
	}
}

// TestHangUpAfterEnd leaves alone the jobs of a shell that ended by itself.
func TestHangUpAfterEnd(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	l := p.startLifeline()
	p.awaitLifeline()
	// Without a terminal, whose end would hang the job up.
	cmd := p.eph.ExecCommand(p.commandLine("--", "-c", "sleep 1001 </dev/null >/dev/null 2>&1 & exit 5")...)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 5 {
		t.Fatalf("exit code of the shell = %v, want 5", err)
	}

	p.wantLeft("sleep 1001")
	l.letGo()
	p.wantLeft("sleep 1001")
}

// TestHangUpOfOthers hangs up one of two sessions.
func TestHangUpOfOthers(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	other := p.withSession(t)
	kept := other.startShell()
	kept.runCommand("sleep 1002 &")
	s := p.startShell()
	s.runCommand("sleep 1001 &")
	p.startLifeline().letGo()
	s.awaitEnd()
	kept.runCommand("jobs")
	if got := listCommands(p); !slices.Contains(got, "sleep 1002") || slices.Contains(got, "sleep 1001") {
		t.Errorf("left of two sessions after the hang-up of one: %q", got)
	}
}

// TestHangUpAsTarget hangs up a session with another user's rights.
func TestHangUpAsTarget(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, UID: 1000, GID: 1000}, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	s := p.startShell("--as-target")
	s.runCommand("sleep 1001 &")
	p.startLifeline().letGo()
	s.awaitEnd()
	p.verifyNothingLeft(t)
}

// listCommands returns the command lines of the living processes beside the manager.
func listCommands(p pod) []string {
	p.t.Helper()
	var out []string
	for _, process := range p.listMembers() {
		words, _, _ := procfs.ReadCommandStart(process.PID, 1<<20)
		if process.PID != p.eph.PID && !process.Dead() && !slices.Contains(words, "--lifeline") {
			out = append(out, strings.Join(words, " "))
		}
	}

	slices.Sort(out)
	return out
}

// wantLeft checks which commands live.
func (p pod) wantLeft(want ...string) {
	p.t.Helper()
	if got := listCommands(p); !slices.Equal(got, want) {
		p.t.Errorf("living commands = %q, want %q", got, want)
	}
}

// TestRelayKeepsItsSecret has a terminal's relay say a secret before the shell starts, say the end by
// it, and wait for the answer that has it, too. No command line shows it.
func TestRelayKeepsItsSecret(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	s := p.startShell("--relay")
	s.mu.Lock()
	_, rest, _ := strings.Cut(s.shown.String(), wire.RelayBeginStart)
	s.mu.Unlock()
	said, _, _ := strings.Cut(rest, wire.RelayStringEnd)
	_, secret, _ := strings.Cut(said, ";")
	if len(secret) != wire.RelaySecretSize || strings.Contains(strings.Join(listCommands(p), " "), secret) {
		t.Fatalf("secret %q, want %d digits that no command line has: %q", secret, wire.RelaySecretSize, listCommands(p))
	}

	s.typeText("exit 4\n")
	s.expectText(wire.RelayEndStart + secret + ";4" + wire.RelayStringEnd)
	s.typeText(wire.RelayAllStart + strings.Repeat("0", wire.RelaySecretSize) + wire.RelayStringEnd)
	s.typeText(wire.RelayAllStart + secret + wire.RelayStringEnd)
	if code := s.awaitEnd(); code != 4 {
		t.Errorf("exit code %d, want 4", code)
	}
}
