package manager_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
	scratchshell "kdiag/scratch-shell"
)

func TestMain(m *testing.M) { os.Exit(runctest.RunTests(m)) }

// managerCommand returns a manager on this machine, outside containers, that is not started yet.
func managerCommand(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(runctest.BuildBinary(t), append([]string{"manager"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// startManager starts a manager with arguments and returns what it printed.
func startManager(t *testing.T, args ...string) (*exec.Cmd, wire.Ready) {
	t.Helper()
	cmd, stderr := managerCommand(t, args...)
	return cmd, beginManager(t, cmd, stderr)
}

// beginManager starts a manager and returns what it printed.
func beginManager(t *testing.T, cmd *exec.Cmd, stderr *bytes.Buffer) wire.Ready {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("no line on stdout: %v; stderr %q", err, stderr)
	}

	var started wire.Ready
	if err := json.Unmarshal(line, &started); err != nil {
		t.Fatalf("line %q: %v", line, err)
	}

	return started
}

func TestStarts(t *testing.T) {
	cmd, got := startManager(t, "--role=shell", "--target=app", "--user=AAAA", "--profile=setns", "--version=v9", "--idle-timeout=10m")
	if got.Role != "shell" || got.Version == "" || got.PID != cmd.Process.Pid {
		t.Errorf("line of manager %d = %+v", cmd.Process.Pid, got)
	}
}

func TestNetLeaves(t *testing.T) {
	cmd, got := startManager(t, "--role=net", "--user="+mux.PublicText(muxtest.NewKey(t)), "--idle-timeout=200ms")
	if got.Role != "net" || got.Port == 0 || len(got.Key) != 43 {
		t.Errorf("line = %+v, want a port and a key's hash", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("an idle net manager ended with %v, want exit code 0", err)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--role=net"}, {"--role=cook"}, {"--role=shell", "--idle-timeout=0s"}, {"--role=shell", "--idle-timeout=-1s"},
		{"--role=shell", "extra"}, {"--role=shell", "--", "extra"}, {"--role=shell", "--user=" + strings.Repeat("A", 1000)},
	} {
		cmd, stderr := managerCommand(t, args...)
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("manager %.40q: %v (%s), want exit code 2", args, err, stderr)
		}
	}
}

// TestIsSmall holds the manager to its promise to the pod, whose memory limit it shares.
func TestIsSmall(t *testing.T) {
	const most = 8 << 10
	cmd, _ := startManager(t, "--role=shell")
	resident := 0
	// It gives memory back after it has said that it is ready.
	small := runctest.WaitUntil(func() bool { resident = anonymousMemory(t, cmd.Process.Pid); return resident <= most })
	t.Logf("anonymous memory: %d KiB", resident)
	if !small {
		t.Errorf("anonymous memory = %d KiB, want %d at most", resident, most)
	}
}

// TestHasNoRights looks at all threads.
func TestHasNoRights(t *testing.T) {
	cmd, _ := startManager(t, "--role=shell")
	threads, err := filepath.Glob(procfs.FilePath(cmd.Process.Pid, "task/*"))
	if err != nil || len(threads) == 0 {
		t.Fatal(threads, err)
	}

	for _, thread := range threads {
		tid, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			t.Fatal(err)
		}

		status, err := procfs.ReadStatus(tid)
		if err != nil {
			t.Fatal(err)
		}
		if c := status.Caps; c.Permitted|c.Effective|c.Inheritable|c.Ambient != 0 {
			t.Errorf("capabilities of thread %d = %+v, want none", tid, c)
		}
	}
}

func TestEndsWhenIdle(t *testing.T) {
	c := startContainer(t, runctest.ContainerSpec{Args: []string{"/kdiag", "manager", "--role=shell", "--idle-timeout=100ms"}})
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

// TestStays has another process in the container from the beginning, which lives for ten idle
// timeouts and then checks that the manager lives, too.
func TestStays(t *testing.T) {
	log := createLog(t)
	c := startContainer(t, runctest.ContainerSpec{Stdout: log, Args: []string{"/busybox", "ash", "-c",
		`(sleep 2; kill -0 1 && echo "manager lives") & exec /kdiag manager --role=shell --idle-timeout=200ms`}})
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
	if got, err := os.ReadFile(log.Name()); err != nil || !strings.Contains(string(got), "manager lives\n") {
		t.Errorf("output %q, want that the manager lived", got)
	}
}

// TestShortUseCounts has a shell in the container that ends between two looks of the manager's: it
// stays for the idle timeout after that one, not after its own start.
func TestShortUseCounts(t *testing.T) {
	target := startContainer(t, runctest.ContainerSpec{Args: []string{"/busybox", "sleep", "100000"}})
	c := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Args: []string{"/kdiag", "manager", "--role=shell", "--idle-timeout=8s"}})
	waitForAge(t, c.PID, 6*time.Second)
	if out, err := c.ExecCommand("/kdiag", "enter", "--container-id="+target.ID, "--", "-c", "true").CombinedOutput(); err != nil {
		t.Fatalf("enter: %v: %s", err, out)
	}

	waitForAge(t, c.PID, 12*time.Second)
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

// waitForAge waits until a process is so old; it fails the test if the process ends before.
func waitForAge(t *testing.T, pid int, age time.Duration) {
	t.Helper()
	boot, err := procfs.ReadBootTime()
	if err != nil {
		t.Fatal(err)
	}

	old := runctest.WaitUntil(func() bool {
		stat, err := procfs.ReadStat(pid)
		if err != nil || stat.Dead() {
			t.Fatalf("process %d ended before it was %s old", pid, age)
		}
		began := boot.Add(time.Duration(stat.Start) * time.Second / procfs.TicksPerSecond)
		return time.Since(began) > age+time.Second // the time of the boot is to the second
	})
	if !old {
		t.Fatalf("process %d is not %s old", pid, age)
	}
}

// TestDeadDoNotCount has a dead process in the manager's cgroup that nobody ever reaps.
func TestDeadDoNotCount(t *testing.T) {
	target := startContainer(t, runctest.ContainerSpec{Args: []string{"/busybox", "sleep", "100000"}})
	c := startContainer(t, runctest.ContainerSpec{PIDsOf: target, Args: []string{"/busybox", "ash", "-c",
		`(sleep 0 & exec sleep 0.1) & exec /kdiag manager --role=shell --idle-timeout=500ms`}})
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

// TestReaps has the manager reap as the first process of a PID namespace.
func TestReaps(t *testing.T) {
	c := startContainer(t, runctest.ContainerSpec{Args: []string{"/busybox", "ash", "-c",
		`(sleep 0.1 & sleep 0.2 &) ; exec /kdiag manager --role=shell`}})
	if out, err := c.ExecCommand("/busybox", "ash", "-c", "(sleep 0.1 &) ; (sleep 0 &)").CombinedOutput(); err != nil {
		t.Fatalf("exec: %v\n%s", err, out)
	}

	var children []string
	if !runctest.WaitUntil(func() bool { children = childrenOf(t, c.PID); return len(children) == 0 }) {
		t.Errorf("children of the manager: %q, want none", children)
	}
	if stat, err := procfs.ReadStat(c.PID); err != nil || stat.Dead() {
		t.Errorf("the manager has ended: %+v, %v", stat, err)
	}
}

// TestEndsOnSignal sends a signal to the manager as PID 1, for which there are no default actions.
func TestEndsOnSignal(t *testing.T) {
	log := createLog(t)
	c := startContainer(t, runctest.ContainerSpec{Stdout: log, Args: []string{"/kdiag", "manager", "--role=shell"}})
	if !runctest.WaitUntil(func() bool { text, _ := os.ReadFile(log.Name()); return strings.HasSuffix(string(text), "\n") }) {
		t.Fatal("the manager printed no line")
	}
	if err := syscall.Kill(c.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := c.Wait(); code != 0 {
		t.Errorf("exit code after SIGTERM = %d, want 0", code)
	}
}

// startContainer starts a container with kdiag and busybox in it.
func startContainer(t *testing.T, spec runctest.ContainerSpec) *runctest.RuncContainer {
	t.Helper()
	shell, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	spec.Binary, spec.ReadOnly = true, true
	if spec.Files == nil {
		spec.Files = map[string][]byte{}
	}
	spec.Files["/busybox"] = shell
	spec.Caps = runctest.DefaultCaps
	return runctest.StartContainer(t, spec)
}

// createLog creates a file for a container's output.
func createLog(t *testing.T) *os.File {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

// anonymousMemory returns a process's anonymous memory in KiB.
func anonymousMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(procfs.FilePath(pid, "status"))
	if err != nil {
		t.Fatal(err)
	}

	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}

	return kib
}

// childrenOf describes the children of a process.
func childrenOf(t *testing.T, parent int) []string {
	t.Helper()
	pids, err := procfs.ListPIDs()
	if err != nil {
		t.Fatal(err)
	}

	var out []string
	for _, pid := range pids {
		if stat, err := procfs.ReadStat(pid); err == nil && stat.Parent == parent {
			out = append(out, fmt.Sprintf("%d %c (%s)", pid, stat.State, stat.Command))
		}
	}

	return out
}
