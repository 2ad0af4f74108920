package enter_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

// bring loads programs with the names, each of which is busybox, and returns the arguments by which a
// shell gets them.
func (p pod) bring(names ...string) (flags []string) {
	p.t.Helper()
	content := targetProgram(p.t)
	sum := sha256.Sum256(content)
	var all []byte
	for _, name := range names {
		program := wire.Program{Name: name, Size: int64(len(content)), Sum: hex.EncodeToString(sum[:])}
		flags = append(flags, "--program="+program.String())
		all = append(all, content...)
	}

	cmd := p.eph.ExecCommand(append([]string{"/kdiag", "enter", "--load"}, flags...)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })

	go func() { _, _ = stdin.Write(all) }()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if socket, ok := strings.CutPrefix(lines.Text(), wire.LoaderReady); ok {
			return append(flags, "--programs-from="+socket)
		}
	}
	p.t.Fatalf("the loader said no %q", wire.LoaderReady)
	return nil
}

// TestBroughtPrograms runs programs from memory by their names, before applets, from every kind of
// shell and from applets that run others; programs of the container's get no descriptor of them.
func TestBroughtPrograms(t *testing.T) {
	const script = `readlink /proc/self/exe; echo x | xargs busybox-tool echo; env -i busybox-tool echo env; sh -c 'busybox-tool echo sub'; command -v busybox-tool
$(busybox-tool echo busybox-tool echo expanded); busybox-tool readlink /proc/self/exe
/app/busybox-server ls /proc/self/fd | tr '\n' ' '; busybox-tool ls /proc/self/fd | tr '\n' ' '; busybox-tool false || echo code $?; id -u; nosuch; echo $?`
	root := runctest.ContainerSpec{Caps: runctest.DefaultCaps}
	user := runctest.ContainerSpec{UID: 1000, GID: 2000, Owner: 1000}
	for name, c := range map[string]struct {
		target, eph runctest.ContainerSpec
		flags       []string
		uid         string
	}{
		"chroot":                {root, runctest.ContainerSpec{Caps: chrootCaps}, nil, "0"},
		"setns":                 {root, runctest.ContainerSpec{Caps: setnsCaps}, nil, "0"},
		"baseline, as target":   {user, root, []string{"--as-target"}, "1000"},
		"setns, as target":      {user, runctest.ContainerSpec{Caps: setnsCaps}, []string{"--as-target"}, "1000"},
		"restricted, look-only": {user, runctest.ContainerSpec{UID: 1000, GID: 2000, NoNewPrivileges: true}, nil, "1000"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, c.target, c.eph)
			before := listFiles(t, p.target.Root+"/app")
			flags := append(p.bring("busybox-tool", "readlink"), c.flags...)
			line := script
			if c.eph.UID != 0 {
				line = strings.ReplaceAll(script, "/app/busybox-server", "app/busybox-server")
			}
			got := p.runEnter(append(flags, "--", "-c", line)...)
			want := "/memfd:readlink (deleted)\nx\nenv\nsub\nbusybox-tool\nexpanded\n/memfd:busybox-tool (deleted)\n0 1 2 3 0 1 2 3 code 1\n" + c.uid + "\n127\n"
			if got.stdout != want || !strings.Contains(got.stderr, "nosuch: not found") {
				t.Errorf("shell printed %q, %q, want %q", got.stdout, got.stderr, want)
			}
			if after := listFiles(t, p.target.Root+"/app"); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Errorf("the target's files changed from %q to %q", before, after)
			}
			if !runctest.WaitUntil(func() bool { return len(p.listLeft()) == 0 }) {
				t.Errorf("left: %q", p.listLeft())
			}
		})
	}
}

// TestBroughtOnTerminal runs one from a shell on a terminal, under the relay.
func TestBroughtOnTerminal(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: chrootCaps})
	s := p.startShell(p.bring("busybox-tool")...)
	s.typeText("busybox-tool echo it ru''ns\n")
	s.expectText("it runs")
	s.wantExit(3)
}

// TestLoaderRefuses says what is wrong with what arrives, and leaves nothing behind.
func TestLoaderRefuses(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: chrootCaps})
	program := "--program=" + wire.Program{Name: "tool", Size: 4, Sum: strings.Repeat("0", 64)}.String()
	for stdin, c := range map[string]struct {
		flags []string
		says  string
		code  int
	}{
		"cut":  {[]string{program}, "take program tool: the connection ended 1 bytes early", 1},
		"full": {[]string{program}, "take program tool: it is not the one that was announced", 1},
		"none": {nil, "--load needs --program", 2},
		"bad":  {[]string{"--program=a/b:1:0"}, "not the name of a program", 2},
	} {
		cmd := p.eph.ExecCommand(append([]string{"/kdiag", "enter", "--load"}, c.flags...)...)
		cmd.Stdin = strings.NewReader(stdin)
		if got := runToEnd(t, cmd); got.code != c.code || !strings.Contains(got.stderr, c.says) {
			t.Errorf("loader of %q: %+v, want code %d and %q", stdin, got, c.code, c.says)
		}
	}

	// One whose laptop goes before a shell has come.
	loader := p.eph.ExecCommand("/kdiag", "enter", "--load", "--program="+wire.Program{Name: "t", Size: 1, Sum: hexSum("x")}.String())
	var stdout bytes.Buffer
	loader.Stdin, loader.Stdout = strings.NewReader("x"), &stdout
	if err := loader.Run(); err != nil || !strings.Contains(stdout.String(), wire.LoaderReady) {
		t.Errorf("loader: %v, printed %q, want it to end by itself", err, &stdout)
	}

	got := p.runEnter("--program="+wire.Program{Name: "t", Size: 1, Sum: hexSum("x")}.String(), "--programs-from=@nobody", "--", "-c", "true")
	if got.code != 1 || !strings.Contains(got.stderr, "kdiag: get the programs: ") {
		t.Errorf("shell whose programs are gone: %+v", got)
	}
	if !runctest.WaitUntil(func() bool { return len(p.listLeft()) == 0 }) {
		t.Errorf("left: %q", p.listLeft())
	}
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
