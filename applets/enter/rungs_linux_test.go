package enter_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/integration/testenv"
)

// rungs lists the ways into a target, each by exactly its capabilities.
var rungs = []struct {
	name        string
	target, eph runctest.ContainerSpec
	// joins says that the shell gets the target's mount namespace.
	joins bool
}{
	{"setns", runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps}, true},
	{"setns, other user", runctest.ContainerSpec{UID: 1000, GID: 2000}, runctest.ContainerSpec{Caps: setnsCaps}, true},
	{"chroot", runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: chrootCaps}, false},
	{"chroot, other user", runctest.ContainerSpec{UID: 1000, GID: 2000}, runctest.ContainerSpec{Caps: chrootCaps}, false},
	{"chroot, target with more capabilities", runctest.ContainerSpec{Caps: setnsCaps}, runctest.ContainerSpec{Caps: chrootCaps}, false},
	{"baseline", runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, false},
	{"baseline, other user", runctest.ContainerSpec{UID: 1000, GID: 2000, Groups: []int{3000}}, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, false},
	// The kernel takes CHOWN from a thread whose file system user is not root.
	{"baseline, other user with capabilities", runctest.ContainerSpec{UID: 1000, GID: 2000, Caps: runctest.DefaultCaps, Ambient: []string{"CHOWN", "KILL"}},
		runctest.ContainerSpec{Caps: runctest.DefaultCaps}, false},
	{"baseline, private cgroups", runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: runctest.DefaultCaps, PrivateCgroups: true}, false},
}

// TestRungs enters a container that has nothing but a program.
func TestRungs(t *testing.T) {
	for _, r := range rungs {
		t.Run(r.name, func(t *testing.T) {
			target := r.target
			target.Owner = target.UID
			target.Cwd = "/app"
			target.Env = []string{"COLOUR=blue", "PATH=", "HOME=/app/home"}
			p := startPod(t, target, r.eph)
			before := listFiles(t, p.target.Root)

			got := p.runEnter("--env=EXTRA=1,2", "--prompt=x", "--", "-c", `pwd; ls /; echo "$COLOUR $EXTRA $HOME $PATH."; echo complaint >&2; exit 7`)
			if want := "/app\napp\ndev\nproc\nblue 1,2 / /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin.\n"; got.stdout != want {
				t.Errorf("stdout = %q, want %q", got.stdout, want)
			}
			if got.stderr != "complaint\n" {
				t.Errorf("stderr = %q, want %q", got.stderr, "complaint\n")
			}
			if got.code != 7 {
				t.Errorf("exit code = %d, want 7", got.code)
			}
			if t.Failed() {
				return
			}
			if got := p.runScript("readlink /proc/self/ns/mnt").stdout; (strings.TrimSpace(got) == readNamespace(t, p.target.PID, "mnt")) != r.joins {
				t.Errorf("mount namespace = %q; the target's: %v, want %v", got, !r.joins, r.joins)
			}
			// busybox executes itself for each of these.
			if got := p.runScript("ps | grep -v grep | grep -c 'busybox-server sleep'"); got.stdout != "1\n" {
				t.Errorf("ps | grep: %+v, want 1", got)
			}

			testTerminal(t, p)
			if after := listFiles(t, p.target.Root); !slices.Equal(before, after) {
				t.Errorf("the target's files changed from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

// testTerminal has an interactive shell with an editor and job control.
func testTerminal(t *testing.T, p pod) {
	t.Helper()
	s := p.startShell()
	s.expectText("/app# ")
	s.typeText("echo $TERM; tty\n")
	s.expectText("xterm\r\n")
	s.expectText("/app# ")

	s.typeText("vi\n")
	s.expectText("~")
	s.typeText(":q!\n")
	s.expectText("/app# ")

	s.startForeground()
	s.typeText("line\n")
	s.expectText("line\r\nline")
	s.stopForeground()
	s.runCommand("jobs")

	// ash names the job before it gives it the terminal: only the job's own answer says that
	// Ctrl-C goes to it.
	s.typeText("fg\n")
	s.expectText("cat")
	s.typeText("again\n")
	s.expectText("again\r\nagain")
	s.typeText("\x03")
	s.expectText("/app# ")

	s.typeText("cd /; ")
	s.wantExit(9)
}

func TestExitCodes(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	for script, want := range map[string]int{
		"true":          0,
		"exit 255":      255,
		"kill -KILL $$": 128 + 9,
		"kill -TERM $$": 128 + 15,
		"no-such-thing": 127,
	} {
		if got := p.runScript(script); got.code != want {
			t.Errorf("exit code of %q = %d (%s), want %d", script, got.code, got.stderr, want)
		}
	}
}

// TestStandardInput gives the shell a script.
func TestStandardInput(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	cmd := p.eph.ExecCommand(p.commandLine()...)
	cmd.Stdin = strings.NewReader("echo one\necho two; exit 7\n")
	if got := runToEnd(t, cmd); got.stdout != "one\ntwo\n" || got.code != 7 {
		t.Errorf("shell with a script as stdin: %+v", got)
	}
}

// TestLeavesNothingOpen looks at the limits, files and signals that the shell starts with.
func TestLeavesNothingOpen(t *testing.T) {
	// As under nohup. A shell that ignored SIGHUP could not be hung up.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGINT)
	target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	// As the container's first process: runc itself raises the limit for what
	// it execs (before 1.1.7).
	script := `ulimit -n; echo /proc/self/fd/*; /app/busybox-server ls /proc/self/fd; grep -E "^Sig(Blk|Ign)" /proc/self/status; grep Threads /proc/$$/status`
	c := startEphemeral(t, runctest.ContainerSpec{
		Caps: setnsCaps, PIDsOf: target, NoFile: 512, Stdout: log,
		Args: []string{"/kdiag", "enter", "--container-id=" + target.ID, "--", "-c", script},
	})
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}

	got, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}

	// libc's own signals, 32 to 34, are nobody's business: Go leaves them as they are.
	own, err := procfs.ReadStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}

	ignored := uint64(own.Ignored) & (7 << 31)
	want := "512\n" +
		"/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3 /proc/self/fd/60\n" + // 3 is the shell's own, which lists them, 60 the shell
		"0\n1\n2\n3\n" + // what programs of the target get
		"SigBlk:\t0000000000000000\n" + fmt.Sprintf("SigIgn:\t%016x\n", ignored) +
		"Threads:\t1\n"
	if string(got) != want {
		t.Errorf("the shell starts with\n%s\nwant\n%s", got, want)
	}
}

// TestOrphans finds orphans to be the shell's, not the target's, while it lives.
func TestOrphans(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	got := p.runScript(`p=$( (sleep 1000 >/dev/null & echo $!) ); grep PPid /proc/$p/status; echo $$; kill $p`)
	fields := strings.Fields(got.stdout)
	if len(fields) != 3 || fields[1] != fields[2] {
		t.Errorf("parent of an orphan and the shell: %q (%s), want the same", got.stdout, got.stderr)
	}
}

func TestWorkingDirectory(t *testing.T) {
	for _, caps := range [][]string{setnsCaps, runctest.DefaultCaps} {
		p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Cwd: "/var/gone"}, runctest.ContainerSpec{Caps: caps})
		if got := p.runScript("pwd").stdout; got != "/var/gone\n" {
			t.Errorf("working directory = %q, want the target's", got)
		}
		if err := os.Remove(filepath.Join(p.target.Root, "var/gone")); err != nil {
			t.Fatal(err)
		}
		if got := p.runScript("pwd"); got.stdout != "/\n" || got.stderr != "" {
			t.Errorf("working directory where the target's is removed: %+v, want /", got)
		}
	}
}

// TestUnreachableDirectory has a target whose working directory has no path, since its file system
// is unmounted.
func TestUnreachableDirectory(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: setnsCaps, Cwd: "/mnt", Args: []string{
		"/app/busybox-server", "ash", "-c", "mount -t tmpfs none /mnt && cd /mnt && umount -l /mnt && echo >/ready; while :; do sleep 1; done",
	}}, runctest.ContainerSpec{Caps: setnsCaps})
	if !runctest.WaitUntil(func() bool { _, err := os.Stat(filepath.Join(p.target.Root, "ready")); return err == nil }) {
		t.Fatal("the target is not ready")
	}
	if got := p.runScript("pwd"); got.stdout != "/\n" || got.stderr != "" {
		t.Errorf("working directory where the target's is unmounted: %+v, want /", got)
	}
}

// TestNoProc has a target that has lost its /proc.
func TestNoProc(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: setnsCaps, Args: []string{
		"/app/busybox-server", "ash", "-c", "umount -l /proc; while :; do sleep 1; done",
	}}, runctest.ContainerSpec{Caps: setnsCaps})
	got := result{}
	if !runctest.WaitUntil(func() bool {
		got = p.runScript("echo /proc/*; exit 7")
		return got.stdout == "/proc/*\n" && got.code == 7
	}) {
		t.Errorf("shell in a target without /proc: %+v", got)
	}
}

// TestChangedRoot has a target that changed its root in its own namespace: the shell has the
// container's root, and says so.
func TestChangedRoot(t *testing.T) {
	for _, caps := range [][]string{setnsCaps, chrootCaps, runctest.DefaultCaps} {
		p := startPod(t, runctest.ContainerSpec{
			Caps: runctest.DefaultCaps, Cwd: "/",
			Files: map[string][]byte{"/inner/app/busybox-server": targetProgram(t), "/inner/mark": nil},
			Args:  []string{"/app/busybox-server", "chroot", "/inner", "/app/busybox-server", "sleep", "100000"},
		}, runctest.ContainerSpec{Caps: caps})
		got := result{}
		if !runctest.WaitUntil(func() bool { got = p.runScript("pwd; echo *"); return got.stdout == "/inner\napp mark\n" }) ||
			!strings.Contains(got.stderr, `process 1 has a root of its own, "/inner"`) {
			t.Errorf("shell in a target that changed its root: %+v", got)
		}
	}
}

func TestDenied(t *testing.T) {
	closed := runctest.ContainerSpec{UID: 1000, GID: 1000, Files: map[string][]byte{"/app/busybox-closed": targetProgram(t)},
		Args: []string{"/app/busybox-closed", "sleep", "100000"}, ExecuteOnly: "/app/busybox-closed"}
	for _, c := range []struct {
		name   string
		target runctest.ContainerSpec
		caps   []string
		want   string
	}{
		{"more capabilities", runctest.ContainerSpec{Caps: append([]string{"NET_ADMIN", "SYS_TIME"}, runctest.DefaultCaps...)}, runctest.DefaultCaps,
			"the target has capabilities that this container lacks: NET_ADMIN, SYS_TIME"},
		{"not dumpable", closed, runctest.DefaultCaps, "not dumpable"},
		{"other user, no SETUID", runctest.ContainerSpec{UID: 1000, GID: 1000}, []string{"SYS_CHROOT"}, "the target runs as user 1000, group 1000; this container runs as user 0, group 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startPod(t, c.target, runctest.ContainerSpec{Caps: c.caps})
			got := p.runScript("true")
			first, hint, _ := strings.Cut(got.stderr, "\n")
			if got.code != 1 || !strings.HasPrefix(first, "kdiag: ") || !strings.Contains(first, c.want) || !strings.HasPrefix(hint, "hint: ") {
				t.Errorf("enter: %+v, want an error about %q and a hint", got, c.want)
			}
		})
	}

	t.Run("not dumpable, with SYS_PTRACE", func(t *testing.T) {
		p := startPod(t, closed, runctest.ContainerSpec{Caps: chrootCaps})
		if got := p.runScript("echo *"); got.stdout != "app dev proc\n" {
			t.Errorf("enter: %+v, want the target's files", got)
		}
	})
}

// TestFallsDown has the capabilities for namespaces, and a filter that forbids to use them.
func TestFallsDown(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps, Forbidden: []string{"setns"}})
	got := p.runScript("echo *")
	if got.stdout != "app dev proc\n" || got.code != 0 {
		t.Errorf("enter: %+v, want the target's files", got)
	}
	want := "note: setns to the target's mount namespace: operation not permitted; the shell uses chroot instead\n"
	if got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
}

// TestNoExecveat has a filter against the one call that executes the shell by no path of the
// target's.
func TestNoExecveat(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps, Forbidden: []string{"execveat"}})
	got := p.runScript("echo *")
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "kdiag: execute the shell: operation not permitted\nhint: ") {
		t.Errorf("enter without execveat: %+v, want an error with a hint", got)
	}
}

// TestNoExecutableMemory has nodes that make files in memory not executable
// unless asked, or at all. The setting is the PID namespace's (Linux 6.3).
func TestNoExecutableMemory(t *testing.T) {
	if _, err := os.Stat("/proc/sys/vm/memfd_noexec"); err != nil {
		testenv.Missing(t, "%v", err)
	}

	for _, value := range []string{"1", "2"} {
		set := "echo " + value + " >/proc/sys/vm/memfd_noexec; echo >/ready; while :; do sleep 1; done"
		p := startPod(t, runctest.ContainerSpec{Caps: setnsCaps, Args: []string{"/app/busybox-server", "ash", "-c", set}}, runctest.ContainerSpec{Caps: setnsCaps})
		if !runctest.WaitUntil(func() bool { _, err := os.Stat(filepath.Join(p.target.Root, "ready")); return err == nil }) {
			t.Fatal("the target is not ready")
		}

		got := p.runScript("exit 7")
		if value == "1" && got.code != 7 {
			t.Errorf("vm.memfd_noexec=1: %+v, want a shell", got)
		}
		if value == "2" && (got.code != 1 || !strings.Contains(got.stderr, "kdiag: make a file in memory: permission denied\nhint: ")) {
			t.Errorf("vm.memfd_noexec=2: %+v, want an error with a hint", got)
		}
	}
}

func TestLookOnly(t *testing.T) {
	target := runctest.ContainerSpec{UID: 1000, GID: 2000, Cwd: "/app", Env: []string{"COLOUR=blue", "PWD=/app"}}
	p := startPod(t, target, runctest.ContainerSpec{UID: 1000, GID: 2000, NoNewPrivileges: true})
	got := p.runScript(`pwd; echo *; echo $COLOUR $KDIAG_ROOT; cd app; pwd; ls; ls / | grep kdiag; exit 7`)
	if want := "/proc/1/root\napp dev proc\nblue /proc/1/root\n/proc/1/root/app\nbusybox-server\nkdiag\n"; got.stdout != want || got.code != 7 {
		t.Errorf("look-only shell: %+v, want %q", got, want)
	}
	if !strings.HasPrefix(got.stderr, "note: look-only: ") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("stderr = %q, want one note", got.stderr)
	}
	if got := p.runEnter("--as-target", "--", "-c", "id -u; id -g"); got.stdout != "1000\n2000\n" || got.code != 0 {
		t.Errorf("look-only shell as the target, which it is: %+v", got)
	}

	s := p.startShell()
	s.expectText("/proc/1/root$ ")
	s.runCommand("vi --help | head -n 1")
	s.wantExit(9)
}

func TestLookOnlyOtherUser(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Env: []string{"COLOUR=blue"}}, runctest.ContainerSpec{UID: 1000, GID: 1000})
	got := p.runScript("pwd; echo .$COLOUR $KDIAG_ROOT; exit 7")
	if want := "/\n. /proc/1/root\n"; got.stdout != want || got.code != 7 {
		t.Errorf("look-only shell: %+v, want %q", got, want)
	}
	if !strings.Contains(got.stderr, "note: look-only: open the root of process 1: permission denied: the target runs as user 0") {
		t.Errorf("stderr = %q, want a note on why", got.stderr)
	}
	if got := p.runEnter("--as-target", "--", "-c", "id -u"); got.code != 1 || !strings.Contains(got.stderr, "kdiag: --as-target: ") {
		t.Errorf("as the target, without the right to: %+v", got)
	}
}

// listFiles lists the files below root, with what a change would change.
func listFiles(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		out = append(out, fmt.Sprintf("%s %s %d %s", path, info.Mode(), info.Size(), info.ModTime()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func readNamespace(t *testing.T, pid int, name string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return link
}
