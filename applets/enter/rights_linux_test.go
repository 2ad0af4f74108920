package enter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
)

// shellRights lists the capabilities of each profile's shell, as docs/security.md has them.
var shellRights = []struct {
	profile string
	caps    []string
	args    []string
	want    string
}{
	{"setns", setnsCaps, nil, "DEFAULT +SYS_PTRACE -SYS_CHROOT"},
	{"chroot", chrootCaps, nil, "DEFAULT +SYS_PTRACE -SYS_CHROOT"},
	{"baseline", runctest.DefaultCaps, nil, "DEFAULT -SYS_CHROOT"},
	{"setns, kept", setnsCaps, []string{"--keep-capabilities"}, "DEFAULT +SYS_ADMIN +SYS_PTRACE"},
	{"chroot, kept", chrootCaps, []string{"--keep-capabilities"}, "DEFAULT +SYS_PTRACE"},
	{"chroot, shared PIDs", chrootCaps, []string{"--shared-pids"}, "DEFAULT -SYS_CHROOT"},
	{"setns, shared PIDs", setnsCaps, []string{"--shared-pids"}, "DEFAULT -SYS_CHROOT"},
	// Without SETPCAP the bounding set stays, and no_new_privs holds what it would grant.
	{"chroot, without SETPCAP", withoutCapability(chrootCaps, "SETPCAP"), nil, "DEFAULT +SYS_PTRACE -SYS_CHROOT -SETPCAP"},
}

// withoutCapability returns caps without one of them.
func withoutCapability(caps []string, name string) []string {
	var out []string
	for _, c := range caps {
		if c != name {
			out = append(out, c)
		}
	}
	return out
}

// parseCapabilities returns the set that words name: DEFAULT for the runtime's, +NAME, -NAME.
func parseCapabilities(t *testing.T, words string) procfs.CapSet {
	t.Helper()
	var set procfs.CapSet
	for _, word := range strings.Fields(words) {
		switch word[0] {
		case 'D':
			for _, name := range runctest.DefaultCaps {
				set |= capabilityByName(t, name)
			}
		case '+':
			set |= capabilityByName(t, word[1:])
		case '-':
			set &^= capabilityByName(t, word[1:])
		}
	}

	return set
}

// capabilityByName returns the set of one capability.
func capabilityByName(t *testing.T, name string) procfs.CapSet {
	t.Helper()
	for n := range 64 {
		if one := procfs.CapSet(1 << n); one.Names() == name {
			return one
		}
	}
	t.Fatalf("no capability %s", name)
	return 0
}

// TestShellGivesUpRights looks at a shell, and at a program that it executes.
func TestShellGivesUpRights(t *testing.T) {
	for _, c := range shellRights {
		t.Run(c.profile, func(t *testing.T) {
			p := startPod(t, runctest.ContainerSpec{UID: 65532, GID: 65532, NoNewPrivileges: true}, runctest.ContainerSpec{Caps: c.caps})
			want := parseCapabilities(t, c.want)

			args := append(c.args, "--", "-c", `cat /proc/self/status; echo; env cat /proc/self/status; echo; /app/busybox-server cat /proc/self/status`)
			got := p.runEnter(args...)
			parts := strings.Split(got.stdout, "\n\n")
			if got.code != 0 || len(parts) != 3 {
				t.Fatalf("shell: %+v", got)
			}

			for i, part := range parts {
				status, err := procfs.ParseStatus([]byte(part))
				if err != nil {
					t.Fatal(err)
				}

				caps := status.Caps
				if caps.Permitted != want || caps.Effective != want || caps.Inheritable|caps.Ambient != 0 {
					t.Errorf("process %d: permitted %s, effective %s, inheritable or ambient %s; want %s",
						i, caps.Permitted.Names(), caps.Effective.Names(), (caps.Inheritable | caps.Ambient).Names(), want.Names())
				}

				if caps.Bounding != want && !status.NoNewPrivileges {
					t.Errorf("process %d: bounding set %s without no_new_privs, want %s", i, caps.Bounding.Names(), want.Names())
				}
			}
		})
	}
}

// standing lists the processes of kdiag's that stay beside a target while a shell is in use, and
// the capabilities that they may keep.
var standing = []struct {
	name, keeps string
	line        []string
}{
	{"manager", "", nil},
	{"inspect", "+SYS_PTRACE +DAC_OVERRIDE +FOWNER", []string{"inspect", "--interval=1h"}},
	{"files", "+DAC_OVERRIDE +FOWNER", []string{"files"}},
	{"files that writes", "+DAC_OVERRIDE +FOWNER", []string{"files", "--write"}},
	{"files that gives away", "+DAC_OVERRIDE +FOWNER +CHOWN +FSETID", []string{"files", "--write", "--preserve"}},
	{"files as target", "+DAC_OVERRIDE +FOWNER", []string{"files", "--as-target"}},
	{"lifeline", "+KILL", []string{"enter", "--lifeline", "--session=0123456789abcdef"}},
}

// TestNobodyUsesTheManager has a target with root's user and the runtime's capabilities try to get
// hold of the processes of kdiag's that stand beside it.
func TestNobodyUsesTheManager(t *testing.T) {
	for name, caps := range map[string][]string{"setns": setnsCaps, "chroot": chrootCaps, "baseline": runctest.DefaultCaps} {
		t.Run(name, func(t *testing.T) {
			tracer, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}

			p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Files: map[string][]byte{"/tracer": tracer}}, runctest.ContainerSpec{Caps: caps})

			for _, s := range standing {
				pid := p.startStanding(t, s.line)
				checkLocked(t, s.name, pid, parseCapabilities(t, s.keeps), name)
				if got := runToEnd(t, p.target.ExecCommand("/tracer", traceArgument, fmt.Sprint(insidePID(t, pid)))); got.stdout != "closed\n" {
					t.Errorf("%s, for the target: %+v, want it closed", s.name, got)
				}
			}
		})
	}
}

// startStanding starts a process in the ephemeral container that stays until the test ends, and
// returns its PID here; without a line it is the manager.
func (p pod) startStanding(t *testing.T, line []string) int {
	t.Helper()
	if line == nil {
		waitLocked(t, p.eph.PID)
		return p.eph.PID
	}

	cmd := p.eph.ExecCommand(append([]string{"/kdiag"}, line...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	pid := 0
	found := runctest.WaitUntil(func() bool {
		pid = p.findByWords(line...)
		return pid != 0
	})
	if !found {
		t.Fatalf("%q is not there", line)
	}

	waitLocked(t, pid)
	return pid
}

// findByWords finds the process of the ephemeral container with these words after its name.
func (p pod) findByWords(words ...string) int {
	return p.findMember(func(process procfs.Stat) bool {
		line, _, err := procfs.ReadCommandStart(process.PID, 4096)
		return err == nil && len(line) > 1 && slices.Equal(line[1:], words)
	})
}

// findByName finds the process of the ephemeral container with that name.
func (p pod) findByName(name string) int {
	return p.findMember(func(process procfs.Stat) bool { return process.Command == name })
}

// findMember returns the PID of a process of the ephemeral container, 0 if there is none.
func (p pod) findMember(match func(procfs.Stat) bool) int {
	members := p.listMembers()
	if at := slices.IndexFunc(members, match); at >= 0 {
		return members[at].PID
	}
	return 0
}

// waitLocked waits until a process has given up its rights, which it does at its start.
func waitLocked(t *testing.T, pid int) {
	t.Helper()
	locked := runctest.WaitUntil(func() bool {
		status, err := procfs.ReadStatus(pid)
		return err == nil && status.NoNewPrivileges && status.Caps.Bounding == 0
	})
	if !locked {
		status, _ := procfs.ReadStatus(pid)
		t.Fatalf("process %d has not given up its rights: %+v", pid, status)
	}
}

// checkLocked looks at all of a process's threads.
func checkLocked(t *testing.T, what string, pid int, keeps procfs.CapSet, profile string) {
	t.Helper()
	threads, err := filepath.Glob(procfs.FilePath(pid, "task/*/status"))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}

	if what == "inspect" && profile == "baseline" {
		// Without SYS_PTRACE the kernel wants a reader to have all that the target has.
		keeps = parseCapabilities(t, "DEFAULT")
	}

	// Capabilities go last, a moment after no_new_privs.
	var status procfs.Status
	for _, thread := range threads {
		right := runctest.WaitUntil(func() bool {
			text, err := os.ReadFile(thread)
			if os.IsNotExist(err) {
				return true
			}
			status, _ = procfs.ParseStatus(text)
			c := status.Caps
			return status.NoNewPrivileges && c.Permitted == keeps && c.Effective == keeps && c.Inheritable|c.Ambient|c.Bounding == 0
		})
		if !right {
			t.Errorf("%s, %s: %+v, want no_new_privs and the permitted and effective set %s alone", what, thread, status, keeps.Names())
		}
	}
}

// insidePID returns the PID that a process has in its own PID namespace.
func insidePID(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(procfs.FilePath(pid, "status"))
	if err != nil {
		t.Fatal(err)
	}

	_, rest, _ := strings.Cut(string(text), "NSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	fields := strings.Fields(line)
	inside := 0
	if _, err := fmt.Sscan(fields[len(fields)-1], &inside); err != nil {
		t.Fatal(err)
	}

	return inside
}

// TestShellIsNoDoor has a target whose user and capabilities would let it look into the shell,
// which has no right that the target lacks: at its terminal, and by what it has open into kdiag's
// container.
func TestShellIsNoDoor(t *testing.T) {
	tracer, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		caps []string
		args []string
	}{"baseline": {runctest.DefaultCaps, nil}, "chroot, as the target": {chrootCaps, []string{"--as-target"}}} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Files: map[string][]byte{"/tracer": tracer}}, runctest.ContainerSpec{Caps: c.caps})
			s := p.startShell(c.args...)
			s.typeText("echo sta''rt; exec 9</dev/tty; sleep 1000\n")
			s.expectText("start")
			tool := 0
			if !runctest.WaitUntil(func() bool { tool = p.findByName("sleep"); return tool != 0 }) {
				t.Fatal("the shell has not started sleep")
			}

			for what, pid := range map[string]int{"shell": s.PID, "tool": tool} {
				if got := runToEnd(t, p.target.ExecCommand("/tracer", traceArgument, fmt.Sprint(insidePID(t, pid)))); got.stdout != "closed\n" {
					t.Errorf("%s, for the target: %+v, want it closed", what, got)
				}
			}
		})
	}
}
