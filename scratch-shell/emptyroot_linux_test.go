package scratchshell

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kdiag/integration/testenv"

	"golang.org/x/sys/unix"
)

// The tests run the shell as "kdiag enter" does, but in a harder place: from a
// memfd, with an empty PATH, in a file system that holds only /proc and two devices,
// which every container runtime mounts. To get there, the test binary runs itself
// again in new namespaces and becomes the shell.
const (
	inEmptyRoot = "in-empty-root"
	argv0       = "busybox-kdiag-1a2b3c"
	// exitNoRoot is the exit code if the root could not be set up.
	exitNoRoot = 125
)

// devices lists what the shell opens for jobs in the background, and wget for https.
var devices = []string{"/dev/null", "/dev/urandom"}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == inEmptyRoot {
		err := becomeShell(os.Args[2], os.Args[3:])
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitNoRoot)
	}
	os.Exit(m.Run())
}

// becomeShell executes the shell in the root. It returns only if that fails.
func becomeShell(root string, args []string) error {
	shell, err := Binary()
	if err != nil {
		return err
	}

	// Keep what is mounted here from showing outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}

	proc := filepath.Join(root, "proc")
	if err := unix.Mount("proc", proc, "proc", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", proc, err)
	}

	for _, dev := range devices {
		if err := unix.Mount(dev, filepath.Join(root, dev), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dev, err)
		}
	}

	fd, err := unix.MemfdCreate("kdiag", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd_create: %w", err)
	}
	if _, err := unix.Write(fd, shell); err != nil {
		return fmt.Errorf("write memfd: %w", err)
	}

	if err := unix.Chroot(root); err != nil {
		return fmt.Errorf("chroot %s: %w", root, err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir /: %w", err)
	}

	argv := append([]string{argv0, "ash"}, args...)
	return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), argv, os.Environ())
}

// newRoot creates a root that holds only the mount points, a home directory and /tmp.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"dev", "home", "proc", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}

	for _, dev := range devices {
		if err := os.WriteFile(filepath.Join(root, dev), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	return root
}

// shellCommand returns a command that runs the shell in the root, in mount and PID
// namespaces of its own.
func shellCommand(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	testenv.MustHaveRoot(t)
	if _, err := Binary(); err != nil {
		testenv.Missing(t, "%v", err)
	}

	// The shell is PID 1 of its namespace, so all that it starts dies with it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)

	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{inEmptyRoot, root}, args...)...)
	cmd.Env = []string{"PATH=", "HOME=/home", "TERM=xterm"}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	return cmd
}

// result holds what a shell printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// runScript runs a script in a root of its own.
func runScript(t *testing.T, script string) result {
	t.Helper()

	var stdout, stderr strings.Builder
	cmd := shellCommand(t, newRoot(t), "-c", script)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	err := cmd.Run()
	if cmd.ProcessState == nil {
		testenv.Missing(t, "new namespaces: %v", err)
	}

	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if r.code == exitNoRoot {
		testenv.Missing(t, "empty root: %s", r.stderr)
	}

	return r
}
