package enter_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
)

// leaveMark returns a program of the target's that notes in a file that it was executed, and by
// whom.
func leaveMark(name string) []byte {
	return fmt.Appendf(nil, "#!/app/busybox-server ash\necho by user $(/app/busybox-server id -u) >/w/mark-%s\n", name)
}

// listMarks returns the files that tell what was executed of the target's.
func listMarks(t *testing.T, root string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "w/mark-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// wantNoMarks fails the test if anything of the target's was executed.
func wantNoMarks(t *testing.T, root string) {
	t.Helper()
	for _, mark := range listMarks(t, root) {
		text, _ := os.ReadFile(mark)
		t.Errorf("executed, %s: %s", strings.TrimSpace(string(text)), filepath.Base(mark))
	}
}

// hostileTarget describes a target without rights that tries to have its shell's user execute
// something.
func hostileTarget() runctest.ContainerSpec {
	return runctest.ContainerSpec{
		UID: 65532, GID: 65532, Owner: 65532, NoNewPrivileges: true, Cwd: "/w",
		Env: []string{
			"ENV=/w/x", "HOME=/w", "SHELL=/w/x", "PATH=/w/bin:.", "IFS=/", "EXINIT=:!/w/x", "HISTFILE=/w/mark-HISTFILE", "HISTFILESIZE=9",
			"PS1=$(>/w/mark-PS1)", "PS2=$(>/w/mark-PS2)", "PS4=$(>/w/mark-PS4)", "MAIL=/w/x", "MAILPATH=/w/x", "CDPATH=/w",
			"LD_PRELOAD=/w/x.so", "LD_LIBRARY_PATH=/w", "BC_ENV_ARGS=/w/x", "LESS=x", "TMOUT=1", "VISUAL=/w/x", "EDITOR=/w/x", "PAGER=/w/x",
			"BASH_ENV=/w/x", "BASH_FUNC_ls%%=() { >/w/mark-FUNC; }", "OPTIND=$(>/w/mark-OPTIND)", "RANDOM=a[$(>/w/mark-RANDOM)]", "KDIAG_ROOT=/w", "DATA=of the target",
		},
		Files: map[string][]byte{
			"/w/x": leaveMark("x"), "/w/bin/ls": leaveMark("ls-in-path"), "/w/ps": leaveMark("ps-in-directory"), "/w/busybox": leaveMark("busybox"),
			"/w/.profile": leaveMark("profile"), "/w/.ashrc": leaveMark("ashrc"), "/w/.exrc": []byte(":!/w/x\n"), "/w/.shrc": leaveMark("shrc"),
			"/.profile": leaveMark("root-profile"), "/.ashrc": leaveMark("root-ashrc"), "/.exrc": []byte(":!/w/x\n"),
			"/bin/sh": leaveMark("sh"), "/bin/ash": leaveMark("ash"), "/bin/ls": leaveMark("ls"), "/bin/gzip": leaveMark("gzip"), "/usr/bin/stty": leaveMark("stty"),
			"/etc/profile": leaveMark("etc-profile"), "/etc/inputrc": leaveMark("inputrc"),
			"/etc/passwd":                 []byte("root:x:0:0:root:/w:/w/x\n"),
			"/usr/share/terminfo/x/xterm": leaveMark("terminfo"), "/etc/terminfo/x/xterm": leaveMark("terminfo"),
		},
	}
}

// entered lists the ways into a target in which the shell is root in it.
var entered = map[string][]string{"setns": setnsCaps, "chroot": chrootCaps, "baseline": runctest.DefaultCaps}

// TestEnvironmentRunsNothing has everything that a shell and its tools might take from the
// environment, the working directory and the files of a target point to a program of the target's.
func TestEnvironmentRunsNothing(t *testing.T) {
	for name, caps := range entered {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, hostileTarget(), runctest.ContainerSpec{Caps: caps})

			s := p.startShell()
			for _, command := range []string{
				"ls", "ps", "echo $DATA", "set -x; echo traced; set +x", "if true; then\necho more\nfi", "cd; cd -; cd bin; cd /w",
				"echo 'BEGIN { system(\"echo by awk\") }' | awk -f -", "echo 1 | xargs echo by xargs", "env echo by env", "watch -n 9 -t true & sleep 0; kill $!",
				"tar cz x | wc -c; tar cz x | tar tz", "echo 1+1 | bc", "time true", "nice true", "getopt a -- -a", "stty -a; reset",
				"f() { local a=$RANDOM; while getopts ab o -a -b; do echo $o; done; }; f",
			} {
				s.runCommand(command)
			}

			s.typeText("script -qc 'echo by scr''ipt' /dev/null\n")
			s.expectText("by script")
			s.expectText("pod/app:")
			s.runCommand("stty rows 24 cols 80") // else vi asks the terminal
			s.typeText("vi /dev/null\n")
			s.expectText("~")
			s.typeText(":!echo by v''i\n")
			s.expectText("by vi")
			s.typeText("\n:q!\n")
			s.typeText("echo li''ne | less\n")
			s.expectText("standard input")
			s.typeText("q")
			s.expectText("pod/app:")
			s.wantExit(7)
			if got := p.runScript("echo $DATA; ls; ps >/dev/null; echo a:b c"); !strings.HasPrefix(got.stdout, "of the target\n") || !strings.HasSuffix(got.stdout, "a:b c\n") {
				t.Errorf("a script: %+v", got)
			}

			wantNoMarks(t, p.target.Root)
		})
	}
}

// TestEnvironmentRewritten has a target that rewrites its own environment in memory between two
// shells.
func TestEnvironmentRewritten(t *testing.T) {
	spec := hostileTarget()
	spec.Env = []string{"PLACE=" + strings.Repeat("x", 64)}
	p := startPod(t, spec, runctest.ContainerSpec{Caps: chrootCaps})
	before := p.runScript("echo ${PLACE:+has a place}")

	rewrite := `set -- $(cut -d')' -f2 /proc/1/stat); shift 47; printf 'ENV=/w/x\0PS1=$(>/w/mark-PS1)\0SAID=this\0' | dd of=/proc/1/mem bs=1 seek=$1 conv=notrunc 2>/dev/null; tr '\0' ' ' </proc/1/environ`
	if got := runToEnd(t, p.target.ExecCommand("/app/busybox-server", "ash", "-c", strings.ReplaceAll(rewrite, "cut ", "/app/busybox-server cut "))); !strings.Contains(got.stdout, "ENV=/w/x") {
		t.Fatalf("the target did not rewrite its environment: %+v", got)
	}

	s := p.startShell()
	s.runCommand("echo $SAID one")
	s.typeText("exit 7\n")
	s.awaitEnd()
	after := p.runScript("echo ${PLACE:+has a place} $SAID")

	if before.stdout != "has a place\n" || after.stdout != "this\n" {
		t.Errorf("environment before and after = %q, %q: the target did rewrite it, want that shown as data", before.stdout, after.stdout)
	}

	wantNoMarks(t, p.target.Root)
}

// ownProgramScript has the shell run itself and its tools, in every way, in a directory with "w/x".
const ownProgramScript = `stat -c %n w/x; env echo by env; echo by xargs | xargs echo; echo 'BEGIN { system("echo by awk") }' | awk -f - ` +
	`; printf 'echo by a file\n' >w/f; chmod 755 w/f; w/f; sh -c 'echo by sh'; env -i sh -c 'stat -c %n w/x'; exec stat -c %n w/x`

// ownProgramOutput is what it prints if none of the target's programs is executed.
const ownProgramOutput = "w/x\nby env\nby xargs\nby awk\nby a file\nby sh\nw/x\nw/x\n"

// decoysIn returns programs of the target's in a directory, where a shell would look for itself.
func decoysIn(dir string) map[string][]byte {
	files := map[string][]byte{dir + "/w/x": nil}
	for _, path := range []string{"proc/self/exe", "proc/self/fd/3", "proc/self/fd/60", "proc/1/exe", "bin/sh", "bin/busybox", "busybox-kdiag", "usr/bin/ps"} {
		files[dir+"/"+path] = leaveMark(strings.ReplaceAll(path, "/", "-"))
	}
	return files
}

// TestOwnProgramAlone has a target that changed its root to one with such programs.
func TestOwnProgramAlone(t *testing.T) {
	for name, caps := range entered {
		t.Run(name, func(t *testing.T) {
			files := decoysIn("/inner")
			files["/inner/app/busybox-server"] = targetProgram(t)
			p := startPod(t, runctest.ContainerSpec{
				Caps: runctest.DefaultCaps, Cwd: "/", Files: files,
				Args: []string{"/app/busybox-server", "chroot", "/inner", "/app/busybox-server", "sleep", "100000"},
			}, runctest.ContainerSpec{Caps: caps})
			if !runctest.WaitUntil(func() bool { return p.runScript("echo *").stdout == "app bin busybox-kdiag proc usr w\n" }) {
				t.Fatal("the target did not change its root")
			}

			if got := p.runScript(ownProgramScript); got.stdout != ownProgramOutput || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("shell: %+v, want %q, and a note on the root", got, ownProgramOutput)
			}
			wantNoMarks(t, filepath.Join(p.target.Root, "inner"))
		})
	}
}

// TestOwnProgramWithoutProc has a target that has unmounted /proc, where the directory below has such
// programs.
func TestOwnProgramWithoutProc(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: setnsCaps, Cwd: "/", Files: decoysIn(""), Args: []string{
		"/app/busybox-server", "ash", "-c", "umount -l /proc; exec /app/busybox-server sleep 100000",
	}}, runctest.ContainerSpec{Caps: setnsCaps})
	if !runctest.WaitUntil(func() bool { return p.runScript("echo /proc/*").stdout == "/proc/1 /proc/self\n" }) {
		t.Fatal("the target did not unmount /proc")
	}

	if got := p.runScript(ownProgramScript); got.stdout != ownProgramOutput || got.stderr != "" {
		t.Errorf("shell: %+v, want %q", got, ownProgramOutput)
	}
	wantNoMarks(t, p.target.Root)
}

// TestTargetEnvIsAskedFor takes what the user names.
func TestTargetEnvIsAskedFor(t *testing.T) {
	p := startPod(t, hostileTarget(), runctest.ContainerSpec{Caps: chrootCaps})
	for _, c := range []struct {
		args         []string
		stdout, note string
	}{
		{nil, "/ .\n", "note: the shell doesn't search /w/bin, which is in the container's PATH (use --target-env=PATH)\nnote: left out variables that affect the shell: ENV, "},
		{[]string{"--target-env=HOME", "--target-env=LESS"}, "/w x.\n", "note: the shell doesn't search /w/bin, which is in the container's PATH (use --target-env=PATH)\nnote: left out variables that affect the shell: ENV, "},
		{[]string{"--target-env=all"}, "/w x.\n", ""},
		{[]string{"--target-env=LESS", "--env=LESS=mine"}, "/ mine.\n", "note: the shell doesn't search /w/bin, which is in the container's PATH (use --target-env=PATH)\nnote: left out variables that affect the shell: ENV, "},
	} {
		got := p.runEnter(append(c.args, "--", "-c", "echo $HOME $LESS.")...)
		if got.stdout != c.stdout || !strings.HasPrefix(got.stderr, c.note) || c.note == "" && got.stderr != "" {
			t.Errorf("enter %q: %+v, want %q and a note %q", c.args, got, c.stdout, c.note)
		}
	}
}

// TestPromptDoesNotMoveTheCursor has a working directory whose name is an escape sequence.
func TestPromptDoesNotMoveTheCursor(t *testing.T) {
	spec := hostileTarget()
	spec.Env = []string{"PWD=/w/\x1b[2J\x1b]0;x\x07"}
	spec.Cwd = "/w/\x1b[2J\x1b]0;x\x07\u009b2J"
	p := startPod(t, spec, runctest.ContainerSpec{Caps: chrootCaps})
	s := p.startShell()
	s.expectText("~/?[2J?]0;x???2J# ") // /etc/passwd says that /w is at home
	s.typeText("exit\n")
	s.awaitEnd()
}

// TestCountlessVariables has a target with so many variables that no execve takes them all.
func TestCountlessVariables(t *testing.T) {
	env := []string{"FIRST=1"}
	for i := range 30000 {
		env = append(env, fmt.Sprintf("V%d=", i), fmt.Sprintf("LD_%d=", i))
	}
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Env: env}, runctest.ContainerSpec{Caps: chrootCaps})
	got := p.runScript("echo $FIRST; exit 7")
	if got.stdout != "1\n" || got.code != 7 || !strings.Contains(got.stderr, "note: the container has more than 4096 variables") {
		t.Errorf("shell: %.300s %.300s code %d", got.stdout, got.stderr, got.code)
	}
}

// TestHugeEnvironment has a target with more of an environment than is read, and a variable that
// no execve takes.
func TestHugeEnvironment(t *testing.T) {
	env := []string{"FIRST=1"}
	for i := range 20 {
		env = append(env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 100<<10)))
	}
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Env: append(env, "LAST=1")}, runctest.ContainerSpec{Caps: chrootCaps})
	got := p.runScript("echo $FIRST$LAST ${#V3}; exit 7")
	if got.stdout != "1 102400\n" || got.code != 7 || !strings.Contains(got.stderr, "note: the target's environment is longer than 1048576 bytes") {
		t.Errorf("shell: %.300s %.300s code %d", got.stdout, got.stderr, got.code)
	}
}

// TestMountsOfTheTarget compares what the shell's tools show of mounts with what the kernel tells
// of the target's process.
func TestMountsOfTheTarget(t *testing.T) {
	for name, caps := range entered {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, runctest.ContainerSpec{UID: 1000, GID: 1000, Owner: 1000}, runctest.ContainerSpec{Caps: caps})

			want := p.runScript("cat /proc/1/mounts").stdout
			for _, show := range []string{"cat /proc/mounts", "cat </proc/self/mounts", "env cat /proc/mounts", "sed '' /proc/mounts", "env -i cat /proc/mounts", "cat /proc/mounts | cat"} {
				if got := p.runScript(show); got.stdout != want || !strings.Contains(want, "tmpfs /dev tmpfs") {
					t.Errorf("%s = %q, want %q", show, got.stdout, want)
				}
			}

			if got := p.runScript("df -k /dev | tail -n 1; df | grep -c /dev; mount | grep 'tmpfs' | cut -d' ' -f1-5").stdout; !strings.HasPrefix(got, "tmpfs                       64") ||
				!strings.HasSuffix(got, "tmpfs on /dev type tmpfs\n") {
				t.Errorf("df and mount = %q, want the target's tmpfs", got)
			}

			if got, want := p.runScript("cat /proc/self/mountinfo").stdout, p.runScript("cat /proc/1/mountinfo").stdout; got != want {
				t.Errorf("/proc/self/mountinfo = %q, want %q", got, want)
			}
		})
	}
}

// TestHostileUsers has a target whose list of users never ends, or never begins: the prompt reads
// it.
func TestHostileUsers(t *testing.T) {
	for name, command := range map[string]string{"a pipe": "mkfifo", "a device": "ln -s /dev/zero"} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Files: map[string][]byte{"/etc/group": nil}}, runctest.ContainerSpec{Caps: chrootCaps})
			made := runToEnd(t, p.target.ExecCommand("/app/busybox-server", "ash", "-c", "/app/busybox-server "+command+" /etc/passwd"))
			if made.code != 0 {
				t.Fatalf("%s: %+v", command, made)
			}

			s := p.startShell()
			s.runCommand("ls -l /app; id")
			s.wantExit(7)
		})
	}
}

// TestNohupFollowsNoLink has a target that laid a link where nohup writes.
func TestNohupFollowsNoLink(t *testing.T) {
	p := startPod(t, hostileTarget(), runctest.ContainerSpec{Caps: chrootCaps})
	if got := runToEnd(t, p.target.ExecCommand("/app/busybox-server", "ln", "-s", "/etc/passwd", "/w/nohup.out")); got.code != 0 {
		t.Fatalf("ln: %+v", got)
	}
	s := p.startShell()
	s.runCommand("nohup echo evil")
	text, err := os.ReadFile(filepath.Join(p.target.Root, "etc/passwd"))
	if err != nil || strings.Contains(string(text), "evil") {
		t.Errorf("/etc/passwd = %q, %v, want it as it was", text, err)
	}
}
