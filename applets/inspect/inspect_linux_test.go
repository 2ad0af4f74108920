package inspect_test

import (
	"bufio"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
	scratchshell "kdiag/scratch-shell"
)

func TestMain(m *testing.M) { os.Exit(runctest.RunTests(m)) }

// serving has a target listen: at 8080 on all addresses, at 7000 on loopback.
const serving = "httpd -p 8080; nc -lk -s 127.0.0.1 -p 7000 -e cat & udpsvd 0.0.0.0 5353 cat & exec sleep 100000"

const passwd = "root:x:0:0::/:\nserver:x:1000:2000::/:\n"

func startTarget(t *testing.T, spec runctest.ContainerSpec) *runctest.RuncContainer {
	t.Helper()
	shell, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	spec.Files = map[string][]byte{"/app/busybox-server": shell, "/etc/passwd": []byte(passwd)}
	if spec.Args == nil {
		spec.Args = []string{"/app/busybox-server", "ash", "-c", serving}
	}
	return runctest.StartContainer(t, spec)
}

func startEphemeral(t *testing.T, spec runctest.ContainerSpec) *runctest.RuncContainer {
	t.Helper()
	spec.Binary, spec.ReadOnly = true, true
	spec.Args = []string{"/kdiag", "manager", "--role=shell"}
	return runctest.StartContainer(t, spec)
}

// inspect takes a snapshot of target from eph.
func inspect(t *testing.T, eph, target *runctest.RuncContainer, flags ...string) wire.Snapshot {
	t.Helper()
	cmd := eph.ExecCommand(append([]string{"/kdiag", "inspect", "--container-id=" + target.ID}, flags...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("inspect: %v: %s", err, &stderr)
	}

	s, err := wire.ParseSnapshot(out)
	if err != nil {
		t.Fatalf("inspect printed %q: %v", out, err)
	}

	return s
}

// awaitServers waits until all of the target's servers listen.
func awaitServers(t *testing.T, eph, target *runctest.RuncContainer) {
	t.Helper()
	const servers = 3
	if !runctest.WaitUntil(func() bool { return len(listOwned(inspect(t, eph, target))) >= servers }) {
		t.Fatal("the target's servers do not all listen")
	}
}

// listOwned returns the sockets whose processes are known: "PROTOCOL LOCAL NAME".
func listOwned(s wire.Snapshot) []string {
	var out []string
	for _, socket := range s.Sockets {
		for _, pid := range socket.PIDs {
			for _, p := range s.Processes {
				if p.PID == pid {
					out = append(out, socket.Protocol+" "+socket.Local+" "+programName(p))
				}
			}
		}
	}

	slices.Sort(out)
	return out
}

// programName returns what a process runs, of busybox the applet.
func programName(p wire.Process) string {
	if len(p.Command) > 1 && strings.HasPrefix(filepath.Base(p.Command[0]), "busybox") {
		return p.Command[1]
	}
	if len(p.Command) > 0 {
		return filepath.Base(p.Command[0])
	}
	return p.Name
}

func listPrograms(s wire.Snapshot) []string {
	var out []string
	for _, p := range s.Processes {
		out = append(out, programName(p))
	}
	slices.Sort(out)
	return out
}

var setnsCaps = append([]string{"SYS_ADMIN", "SYS_PTRACE"}, runctest.DefaultCaps...)

// TestRungs sees a target's processes and sockets from every rung that lets it.
func TestRungs(t *testing.T) {
	root, user := runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{UID: 1000, GID: 2000, Owner: 1000}
	for name, c := range map[string]struct{ target, eph runctest.ContainerSpec }{
		"setns":                     {root, runctest.ContainerSpec{Caps: setnsCaps}},
		"setns, other user":         {user, runctest.ContainerSpec{Caps: setnsCaps}},
		"baseline":                  {root, runctest.ContainerSpec{Caps: runctest.DefaultCaps}},
		"baseline, other user":      {user, runctest.ContainerSpec{Caps: runctest.DefaultCaps}},
		"baseline, private cgroups": {root, runctest.ContainerSpec{Caps: runctest.DefaultCaps, PrivateCgroups: true}},
		"restricted":                {user, runctest.ContainerSpec{UID: 1000, GID: 2000, NoNewPrivileges: true}},
	} {
		t.Run(name, func(t *testing.T) {
			runctest.RequireRunc(t)
			target := startTarget(t, c.target)
			c.eph.PIDsOf = target
			eph := startEphemeral(t, c.eph)
			awaitServers(t, eph, target)
			ageFiles(t, target.Root)
			before := listFiles(t, target.Root)
			got := inspect(t, eph, target)
			if want := []string{"httpd", "nc", "sleep", "udpsvd"}; !slices.Equal(listPrograms(got), want) {
				t.Errorf("processes = %v, want %v", listPrograms(got), want)
			}

			want := []string{"tcp 127.0.0.1:7000 nc", "tcp6 [::]:8080 httpd", "udp 0.0.0.0:5353 udpsvd"}
			if !slices.Equal(listOwned(got), want) || len(got.Sockets) != len(want) {
				t.Errorf("sockets = %+v, want %v", got.Sockets, want)
			}
			if ports := got.Ports(); !slices.Equal(ports, []uint16{8080}) {
				t.Errorf("Ports = %v, want 8080", ports)
			}
			if len(got.Hidden.Processes) > 0 || got.Hidden.Sockets > 0 || len(got.Cut) > 0 {
				t.Errorf("hidden %+v, cut %v, want nothing", got.Hidden, got.Cut)
			}

			checkProcess(t, got.Processes[0], c.target.UID, name)
			if after := listFiles(t, target.Root); !slices.Equal(before, after) {
				t.Errorf("the target's files changed from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

// checkProcess looks at the first process, which sleeps.
func checkProcess(t *testing.T, p wire.Process, uid int, name string) {
	t.Helper()
	user := map[int]string{0: "root", 1000: "server"}[uid]
	if p.PID != 1 || p.PPID != 0 || p.UID != uid || p.User != user || p.State != "S" || p.Threads != 1 || p.RSS == 0 || p.CommandCut ||
		p.Start == nil || time.Since(*p.Start) > time.Hour || time.Since(*p.Start) < -time.Second {
		t.Errorf("%s: process = %+v, want the sleeping PID 1 of user %d %q", name, p, uid, user)
	}
}

// ageFiles makes the times of access old, so that a look changes them (mount(8),
// relatime).
func ageFiles(t *testing.T, root string) {
	t.Helper()
	if err := exec.Command("touch", "-a", "-d", "2001-01-01", root+"/etc/passwd", root+"/app/busybox-server").Run(); err != nil {
		t.Fatal(err)
	}
}

// listFiles lists the target's files, with the times that a look could change.
func listFiles(t *testing.T, root string) []string {
	t.Helper()
	out, err := exec.Command("find", root, "-not", "-path", root+"/proc/*", "-printf", "%P %y %m %s %T@\n", "-type", "f", "-printf", "read %A@\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(out), "\n")
}

// TestHidden says what it has no right to see, and shows the rest.
func TestHidden(t *testing.T) {
	runctest.RequireRunc(t)
	target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	sees := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: target})
	awaitServers(t, sees, target)
	eph := startEphemeral(t, runctest.ContainerSpec{UID: 65532, GID: 65532, NoNewPrivileges: true, PIDsOf: target})
	got := inspect(t, eph, target)
	if want := []string{"httpd", "nc", "sleep", "udpsvd"}; !slices.Equal(listPrograms(got), want) {
		t.Errorf("processes = %v, want %v", listPrograms(got), want)
	}

	want := []wire.HiddenProcesses{{Reason: "the target runs as user 0, group 0; this container runs as user 65532, group 65532", Count: 4}}
	if !slices.Equal(got.Hidden.Processes, want) || got.Hidden.Sockets != 3 {
		t.Errorf("hidden = %+v, want %+v and 3 sockets", got.Hidden, want)
	}
	if len(listOwned(got)) > 0 || len(got.Sockets) != 3 || len(got.Ports()) > 0 {
		t.Errorf("sockets = %+v, want 3 listeners of nobody known", got.Sockets)
	}
}

// TestSeveral has a pod whose containers share a PID namespace, or have the
// machine's: the processes and sockets are those of the container that was named.
func TestSeveral(t *testing.T) {
	for name, host := range map[string]bool{"pod": false, "host": true} {
		t.Run(name, func(t *testing.T) {
			runctest.RequireRunc(t)
			red := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
			blue := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, PIDsOf: red, HostPIDs: host,
				Args: []string{"/app/busybox-server", "ash", "-c", "nc -lk -p 9000 -e cat & exec sleep 100001"}})
			eph := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: red, HostPIDs: host})
			var got wire.Snapshot
			runctest.WaitUntil(func() bool {
				got = inspect(t, eph, blue, "--shared-pids")
				return len(listOwned(got)) > 0
			})

			if want := []string{"nc", "sleep"}; !slices.Equal(listPrograms(got), want) {
				t.Errorf("processes = %v, want %v", listPrograms(got), want)
			}
			if want := []string{"tcp6 [::]:9000 nc"}; !slices.Equal(listOwned(got), want) || len(got.Sockets) != 1 {
				t.Errorf("sockets = %+v, want %v", got.Sockets, want)
			}
		})
	}
}

// TestConnected has the connected sockets only if they are asked for.
func TestConnected(t *testing.T) {
	runctest.RequireRunc(t)
	target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	eph := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: target})
	awaitServers(t, eph, target)
	client := target.ExecCommand("/app/busybox-server", "nc", "127.0.0.1", "7000")
	stdin, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = client.Wait() }()

	if _, err := stdin.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("echo = %q, %v", line, err)
	}

	for _, s := range inspect(t, eph, target).Sockets {
		if !s.Listening() {
			t.Errorf("socket %+v, which was not asked for", s)
		}
	}

	ends := 0
	for _, s := range inspect(t, eph, target, "--connected").Sockets {
		if s.State == "ESTABLISHED" && (s.Local == "127.0.0.1:7000" || s.Remote == "127.0.0.1:7000") && len(s.PIDs) > 0 {
			ends++
		}
	}

	if ends != 2 {
		t.Errorf("%d ends of the connection, want 2", ends)
	}
}

// TestInterval prints one after another, and ends with its stdin.
func TestInterval(t *testing.T) {
	runctest.RequireRunc(t)
	target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	eph := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: target})
	cmd := eph.ExecCommand("/kdiag", "inspect", "--container-id="+target.ID, "--interval=10ms")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}

	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	lines := bufio.NewScanner(stdout)
	for range 3 {
		if !lines.Scan() {
			t.Fatalf("inspect ended: %v", lines.Err())
		}
		if _, err := wire.ParseSnapshot(lines.Bytes()); err != nil {
			t.Errorf("line %q: %v", lines.Text(), err)
		}
	}

	_ = stdin.Close()
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("inspect whose stdin ended: %v", err)
	}
}

// TestPasswd follows no link out of the target, and waits for no pipe.
func TestPasswd(t *testing.T) {
	for name, put := range map[string]func(file string) error{
		"link out": func(file string) error { return os.Symlink("/../../../../../../../etc/passwd", file) },
		"pipe":     func(file string) error { return exec.Command("mkfifo", file).Run() },
		"device":   func(file string) error { return exec.Command("mknod", file, "c", "1", "5").Run() },
	} {
		t.Run(name, func(t *testing.T) {
			runctest.RequireRunc(t)
			target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
			file := filepath.Join(target.Root, "etc", "passwd")
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := put(file); err != nil {
				t.Fatal(err)
			}

			eph := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: target})
			if err := os.MkdirAll(filepath.Join(eph.Root, "etc"), fs.ModePerm); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(eph.Root, "etc", "passwd"), []byte("ours:x:0:0::/:\n"), 0o644); err != nil {
				t.Fatal(err)
			}

			for _, p := range inspect(t, eph, target).Processes {
				if p.User != "" {
					t.Errorf("user = %q, want none", p.User)
				}
			}
		})
	}
}

// TestWithoutID has nothing to go by but that the other processes are not ours.
func TestWithoutID(t *testing.T) {
	runctest.RequireRunc(t)
	target := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	eph := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps, PIDsOf: target})
	awaitServers(t, eph, target)
	out, err := eph.ExecCommand("/kdiag", "inspect").Output()
	if err != nil {
		t.Fatal(err)
	}

	got, err := wire.ParseSnapshot(out)
	if want := []string{"httpd", "nc", "sleep", "udpsvd"}; err != nil || !slices.Equal(listPrograms(got), want) {
		t.Errorf("processes = %v, %v, want %v", listPrograms(got), err, want)
	}
}
