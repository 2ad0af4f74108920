package hold_test

import (
	"os"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

func TestMain(m *testing.M) { os.Exit(runctest.RunTests(m)) }

// startHold starts a container without anything but kdiag, whose first process is hold.
func startHold(t *testing.T, uid int, command ...string) *runctest.RuncContainer {
	t.Helper()
	program, err := os.ReadFile(runctest.BuildBinary(t))
	if err != nil {
		t.Fatal(err)
	}

	held := wire.HoldArguments{Deadline: 3600e9, Command: command}
	return runctest.StartContainer(t, runctest.ContainerSpec{
		Files: map[string][]byte{wire.CopyBinary: program, "/bin/app": program}, UID: uid, GID: uid,
		Args: append([]string{wire.CopyBinary}, held.Args()...), Env: []string{"PATH=/none:/bin", "WORD=here"},
	})
}

// TestShellBesideHold has a shell in the container itself, with its user and environment and the command that
// it would run, and its orphans reaped; --end ends the container at once.
func TestShellBesideHold(t *testing.T) {
	runctest.RequireRunc(t)
	for _, uid := range []int{0, 1234} {
		container := startHold(t, uid, "app", "it's $x")
		script := `id -u; echo "$WORD $PATH"; echo "$KDIAG_COMMAND"; (true & exec true) & wait; (sleep 0.01 &); tr '\0' ' ' < /proc/1/cmdline`
		out, err := container.ExecCommand(wire.CopyBinary, wire.AppletEnter, "--here", "--quiet", "--target-env=all", "--", "-c", script).CombinedOutput()
		want := []string{"here /none:/bin", `/bin/app 'it'\''s $x'`, wire.CopyBinary + " hold --deadline=1h0m0s -- app it's $x "}
		lines := strings.Split(string(out), "\n")
		if err != nil || len(lines) != 4 || strings.Join(lines[1:], "\n") != strings.Join(want, "\n") {
			t.Errorf("user %d: %v, %q, want %q", uid, err, lines, want)
		}

		status, err := procfs.ReadStatus(container.PID)
		if err != nil || status.Caps.Permitted != 0 || !status.NoNewPrivileges {
			t.Errorf("user %d: hold has %+v, %v, want no capability", uid, status.Caps, err)
		}
		if !isReaped(t, container) {
			t.Fatalf("user %d: what the shell left behind is not reaped", uid)
		}

		// The exec may be killed by the end of the container.
		_ = container.ExecCommand(wire.CopyBinary, wire.AppletHold, "--end").Run()
		if code := container.Wait(); code != 0 && code != 143 {
			t.Errorf("user %d: hold ended with code %d", uid, code)
		}
	}
}

// TestOddCommands says of a command why it is not in the variable, or why no runtime can start it; a long one
// keeps nobody from ending the container.
func TestOddCommands(t *testing.T) {
	runctest.RequireRunc(t)
	for _, c := range []struct {
		name    string
		command []string
		says    string
		length  string
	}{
		{"long", []string{"app", strings.Repeat("a", 100<<10)}, "", "102409"},
		{"too long once quoted", []string{"app", strings.Repeat("'", 100<<10)}, "$KDIAG_COMMAND is not set: the command is too long for a variable", "0"},
		{"no such program", []string{"sh", "-c", "true"}, `PATH has no program "sh", so that no runtime can start`, "10"},
		{"unknown", nil, "", "0"},
	} {
		container := startHold(t, 0, c.command...)
		cmd := container.ExecCommand(wire.CopyBinary, wire.AppletEnter, "--here", "--target-env=all", "--", "-c", `echo "${#KDIAG_COMMAND}"`)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil || string(out) != c.length+"\n" || !strings.Contains(said.String(), c.says) || c.says == "" && strings.Contains(said.String(), "COMMAND") {
			t.Errorf("%s: %v, %q, said %q, want length %s and %q", c.name, err, out, said.String(), c.length, c.says)
		}

		_ = container.ExecCommand(wire.CopyBinary, wire.AppletHold, "--end").Run()
		if code := container.Wait(); code != 0 && code != 143 {
			t.Errorf("%s: hold ended with code %d", c.name, code)
		}
	}
}

// isReaped reports whether hold has no child left after some shells more, each of which takes far longer
// than hold needs: it tells in seconds, on a busy machine too, that one stays.
func isReaped(t *testing.T, container *runctest.RuncContainer) bool {
	t.Helper()
	const shells = 10
	for range shells {
		if countChildren(t, container.PID) == 0 {
			return true
		}
		if out, err := container.ExecCommand(wire.CopyBinary, wire.AppletEnter, "--here", "--quiet", "--", "-c", "true").CombinedOutput(); err != nil {
			t.Fatalf("%v, %q", err, out)
		}
	}
	return countChildren(t, container.PID) == 0
}

// countChildren returns how many processes have a parent, dead ones too.
func countChildren(t *testing.T, parent int) (count int) {
	t.Helper()
	pids, err := procfs.ListPIDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if stat, err := procfs.ReadStat(pid); err == nil && stat.Parent == parent {
			count++
		}
	}
	return count
}
