package enter_test

import (
	"os"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
)

func init() { runctest.BecomeLeaderless() }

// leaderlessTarget is a target whose first process has lost its first thread.
func leaderlessTarget(t *testing.T) runctest.ContainerSpec {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return runctest.ContainerSpec{
		Caps: runctest.DefaultCaps, Env: []string{"COLOUR=red"},
		Files: map[string][]byte{"/program": program, "/mark": []byte("inside")}, Args: []string{"/program", runctest.LeaderlessArgument},
	}
}

// TestLeaderHasEnded enters a target whose first process goes on without its first thread, of which
// the kernel shows a zombie without files.
func TestLeaderHasEnded(t *testing.T) {
	for name, caps := range map[string][]string{"setns": setnsCaps, "chroot": chrootCaps, "baseline": runctest.DefaultCaps} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, leaderlessTarget(t), runctest.ContainerSpec{Caps: caps})
			runctest.EndFirstThread(t, p.target)
			got := p.runScript("cat /mark; echo $COLOUR; cat /proc/mounts | grep -c ' / '")
			if want := "insidered\n1\n"; got.stdout != want || got.code != 0 {
				t.Errorf("shell: %+v, want %q", got, want)
			}
		})
	}

	t.Run("look only", func(t *testing.T) {
		spec := leaderlessTarget(t)
		spec.UID, spec.GID, spec.Owner, spec.Caps = 1000, 1000, 1000, nil
		p := startPod(t, spec, runctest.ContainerSpec{UID: 1000, GID: 1000})
		runctest.EndFirstThread(t, p.target)
		if got := p.runScript("cat $KDIAG_ROOT/mark"); got.stdout != "inside" {
			t.Errorf("shell: %+v, want the target's file", got)
		}
	})
}

// TestFirstProcessInJail enters targets whose first process has a root of its own: the shell has the
// container's, as an exec would.
func TestFirstProcessInJail(t *testing.T) {
	jailed := func(t *testing.T) runctest.ContainerSpec {
		t.Helper()
		return runctest.ContainerSpec{
			Caps:  runctest.DefaultCaps,
			Files: map[string][]byte{"/jail/deep/busybox": targetProgram(t), "/jail/deep/mark": []byte("jail"), "/mark": []byte("container")},
			Args:  []string{"/app/busybox-server", "chroot", "/jail/deep", "/busybox", "sleep", "100000"},
		}
	}

	for name, caps := range map[string][]string{"setns": setnsCaps, "chroot": chrootCaps, "baseline": runctest.DefaultCaps} {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, jailed(t), runctest.ContainerSpec{Caps: caps})
			waitCommand(t, p.target.PID, "busybox")
			got := p.runScript("cat /mark; pwd")
			if want := "container/jail/deep\n"; got.stdout != want {
				t.Errorf("shell: %+v, want %q", got, want)
			}
			if !strings.Contains(got.stderr, `note: process 1 has a root of its own, "/jail/deep"; the shell has the container's`) {
				t.Errorf("shell: %q, want a note on the root", got.stderr)
			}
		})
	}

	t.Run("look only", func(t *testing.T) {
		p := startPod(t, jailed(t), runctest.ContainerSpec{Caps: []string{"SYS_PTRACE", "DAC_OVERRIDE"}})
		waitCommand(t, p.target.PID, "busybox")
		got := p.runScript("cat $KDIAG_ROOT/mark; cat mark")
		if want := "containercontainer"; got.stdout != want {
			t.Errorf("shell: %+v, want %q", got, want)
		}
	})
}

// waitCommand waits until a process runs a program.
func waitCommand(t *testing.T, pid int, name string) {
	t.Helper()
	running := func() bool {
		words, _, err := procfs.ReadCommandStart(pid, 100)
		return err == nil && len(words) > 1 && strings.HasSuffix(words[0], name) && words[1] == "sleep"
	}
	if !runctest.WaitUntil(running) {
		t.Fatalf("process %d does not become %s", pid, name)
	}
}

// TestTargetStartedAnew enters a target that was started anew since its ID was read: the ephemeral
// container is beside the new one.
func TestTargetStartedAnew(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps, Env: []string{"COLOUR=new"}}, runctest.ContainerSpec{Caps: chrootCaps})
	old := *p.target
	old.ID = runctest.NewID()
	p.target = &old
	if got := p.runScript("echo $COLOUR"); got.stdout != "new\n" {
		t.Errorf("shell: %+v, want one in the target", got)
	}
}
