package enter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
)

// TestSharedPIDs has a pod whose containers share a PID namespace, or have
// the machine's: the shell lands in the one that was named, or nowhere.
func TestSharedPIDs(t *testing.T) {
	for name, host := range map[string]bool{"pod": false, "host": true} {
		for way, caps := range map[string][]string{"setns": setnsCaps, "baseline": runctest.DefaultCaps} {
			t.Run(name+"/"+way, func(t *testing.T) {
				pause := startTarget(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
				spec := func(colour string) runctest.ContainerSpec {
					return runctest.ContainerSpec{
						Caps: runctest.DefaultCaps, PIDsOf: pause, HostPIDs: host,
						Files: map[string][]byte{"/" + colour: nil}, Env: []string{"COLOUR=" + colour},
					}
				}

				red, blue := startTarget(t, spec("red")), startTarget(t, spec("blue"))
				eph := startEphemeral(t, runctest.ContainerSpec{Caps: caps, PIDsOf: pause, HostPIDs: host})
				for colour, target := range map[string]*runctest.RuncContainer{"red": red, "blue": blue} {
					p := pod{t, target, eph, runctest.NewID()[:16]}
					// With a second process in the target, which is not its first.
					other := target.ExecCommand("/app/busybox-server", "env", "COLOUR=other", "/app/busybox-server", "cat")
					stdin, err := other.StdinPipe()
					if err != nil {
						t.Fatal(err)
					}
					if err := other.Start(); err != nil {
						t.Fatal(err)
					}

					got := p.runEnter("--shared-pids", "--", "-c", "echo $COLOUR; ls /$COLOUR")
					if want := colour + "\n/" + colour + "\n"; got.stdout != want {
						t.Errorf("shell in %s: %+v, want %q", colour, got, want)
					}

					_ = stdin.Close()
					_ = other.Wait()
				}

				if err := syscall.Kill(red.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}

				red.Wait()
				p := pod{t, red, eph, runctest.NewID()[:16]}
				// With the node's processes without --shared-pids as well: the cgroups tell.
				without := [][]string{{"--shared-pids"}, nil}
				if !host {
					without = without[:1]
				}
				for _, flags := range without {
					got := p.runEnter(append(flags, "--", "-c", "echo in; ls /")...)
					if got.code != 1 || got.stdout != "" || !strings.HasPrefix(got.stderr, "kdiag: container "+red.ID+": no process found; has it exited?") {
						t.Errorf("enter %v of a container that has exited: %+v", flags, got)
					}
				}
			})
		}
	}
}

// TestMonitorIsNotTheTarget has a process of the node's in a cgroup beside the container's that
// has the container's ID in its name, as CRI-O puts the monitor of each container. It is older
// than the target, and its root is the node's.
func TestMonitorIsNotTheTarget(t *testing.T) {
	runctest.RequireRunc(t)
	for _, name := range []string{"crio-conmon-%s.scope", "crio-conmon-%s", "libpod-conmon-%s.scope"} {
		id := runctest.NewID()
		startMonitor(t, fmt.Sprintf(name, id))

		for way, caps := range entered {
			target := startTarget(t, runctest.ContainerSpec{ID: id, Caps: runctest.DefaultCaps, HostPIDs: true})
			p := pod{t, target, startEphemeral(t, runctest.ContainerSpec{Caps: caps, HostPIDs: true}), runctest.NewID()[:16]}
			if got := p.runEnter("--shared-pids", "--", "-c", "echo *"); got.stdout != "app dev proc\n" {
				t.Errorf("%s, %s: shell: %.300s %s, want the target's files", name, way, got.stdout, got.stderr)
			}
			target.Remove(t)
		}
	}
}

// startMonitor starts a process in a cgroup of the test's own, in one hierarchy.
func startMonitor(t *testing.T, name string) {
	t.Helper()
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}

	parent := filepath.Join(root, "kdiag-test-"+runctest.NewID()[:8])
	dir := filepath.Join(parent, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	// It can go once nothing is in it, a moment after the process has ended.
	t.Cleanup(func() { runctest.WaitUntil(func() bool { return os.Remove(dir) == nil && os.Remove(parent) == nil }) })

	monitor := exec.Command("sleep", "1000")
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = monitor.Process.Kill(); _ = monitor.Wait() })
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(monitor.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFirstProcess goes without an ID.
func TestFirstProcess(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	if got := runToEnd(t, p.eph.ExecCommand("/kdiag", "enter", "--", "-c", "echo *")); got.stdout != "app dev proc\n" {
		t.Errorf("enter without an ID: %+v, want the files of PID 1", got)
	}

	alone := startEphemeral(t, runctest.ContainerSpec{Caps: setnsCaps})
	for _, flags := range [][]string{nil, {"--container-id=" + p.target.ID}} {
		got := runToEnd(t, alone.ExecCommand(append([]string{"/kdiag", "enter"}, flags...)...))
		if got.code != 1 || !strings.Contains(got.stderr, "kdiag's own manager") {
			t.Errorf("enter %v beside nobody: %+v, want an error", flags, got)
		}
	}
}

func TestUsage(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: setnsCaps})
	for _, args := range [][]string{
		{"--session=XYZ"}, {"--container-id=a"}, {"--shared-pids"}, {"--env=A"}, {"ls"}, {"--lifeline"}, {"--lifeline", "--session=xyz"},
	} {
		got := runToEnd(t, p.eph.ExecCommand(append([]string{"/kdiag", "enter"}, args...)...))
		if got.code != 2 || !strings.HasPrefix(got.stderr, "kdiag: ") {
			t.Errorf("enter %v: %+v, want a usage error", args, got)
		}
	}
}
