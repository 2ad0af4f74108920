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

	"golang.org/x/sys/unix"
)

// The tests run the shell as "kdiag enter" does, and harder: from a memfd, with an empty PATH, in a file system with nothing
// in it but proc and two devices, which every container runtime mounts. The test binary runs itself again in new namespaces
// to set that up, and becomes the shell.
const (
	inEmptyRoot = "in-empty-root"
	argv0       = "busybox-kdiag-1a2b3c"
	// noRoot is the exit code for a root that could not be set up.
	noRoot = 125
)

// The shell opens the one for jobs in the background, wget the other for https.
var devices = []string{"/dev/null", "/dev/urandom"}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == inEmptyRoot {
		err := becomeShell(os.Args[2], os.Args[3:])
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noRoot)
	}
	os.Exit(m.Run())
}

// becomeShell returns only an error.
func becomeShell(root string, args []string) error {
	shell, err := Binary()
	if err != nil {
		return err
	}
	// What is mounted here must not be seen outside.
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

// required says whether a test may not be skipped for want of something.
func required() bool { return os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") == "1" }

// skip skips the test, or fails it where it is required.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if required() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// newRoot makes an empty root; it has the mount points, a home directory and a tmp.
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

// command returns the shell with args, to be run in root, in mount and pid namespaces of its own.
func command(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := Binary(); err != nil {
		skip(t, "%v", err)
	}
	if os.Getuid() != 0 {
		skip(t, "needs root: run 'sudo go test ./scratch-shell'")
	}

	// The shell is PID 1 of its namespace: all that it started dies with it.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{inEmptyRoot, root}, args...)...)
	cmd.Env = []string{"PATH=", "HOME=/home", "TERM=xterm"}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	return cmd
}

type result struct {
	stdout, stderr string
	code           int
}

// runScript runs a script in a root of its own.
func runScript(t *testing.T, script string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := command(t, newRoot(t), "-c", script)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		skip(t, "new namespaces: %v", err)
	}

	r := result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if r.code == noRoot {
		skip(t, "empty root: %s", r.stderr)
	}

	return r
}
