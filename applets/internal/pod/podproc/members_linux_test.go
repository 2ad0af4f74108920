package podproc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"kdiag/applets/internal/pod/procfs"
)

// TestFindMembers follows a child of the test's from its start to its end, and after.
func TestFindMembers(t *testing.T) {
	own, err := procfs.ReadCgroups(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}

	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid

	wantMember(t, "a living process", pid, SameCgroups(own), true)
	wantMember(t, "a living process, of another cgroup", pid, SameCgroups(own[:0]), false)
	wantMember(t, "a living process, of a container", pid, ContainerCgroups("0123456789abcdef"), false)

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if stat, err := procfs.ReadStat(pid); err == nil && stat.Dead() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the child does not die")
		}
	}

	// Cgroup v1 shows the root for it.
	stays := !slices.ContainsFunc(own, func(g procfs.Cgroup) bool { return g.Hierarchy != "0" && g.Path != "/" })
	wantMember(t, "a dead process", pid, SameCgroups(own), stays)

	_ = child.Wait()
	wantMember(t, "a process that has gone", pid, func(int, procfs.Cgroups) bool { return true }, false)
}

// wantMember checks what both ways to ask say about a process.
func wantMember(t *testing.T, what string, pid int, belongs Membership, want bool) {
	t.Helper()
	if got := IsMember(pid, belongs); got != want {
		t.Errorf("%s: IsMember = %v, want %v", what, got, want)
	}

	found, err := FindMembers(belongs)
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.ContainsFunc(found, func(p procfs.Stat) bool { return p.PID == pid }); got != want {
		t.Errorf("%s: FindMembers = %v, want %d among them: %v", what, found, pid, want)
	}
}

// TestUnreadableCgroups tells a runtime that shows no cgroups from one that forbids to read them.
func TestUnreadableCgroups(t *testing.T) {
	const nobody = 1 << 30
	for _, c := range []struct {
		name string
		pid  int
		err  error
		want bool
	}{
		{"no cgroups", os.Getpid(), fs.ErrNotExist, true},
		{"forbidden", os.Getpid(), fs.ErrPermission, false},
		{"garbage", os.Getpid(), errors.New("line 1"), false},
		{"gone", nobody, fs.ErrNotExist, false},
	} {
		read := func(int) (procfs.Cgroups, error) { return nil, c.err }
		if got := isMember(c.pid, read, func(_ int, cgroups procfs.Cgroups) bool { return cgroups == nil }); got != c.want {
			t.Errorf("%s: isMember = %v, want %v", c.name, got, c.want)
		}
	}
}
