// Package runctest starts containers with runc for tests, with namespaces, capabilities and system
// call filters as a kubelet's runtime would make them.
package runctest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kdiag/integration/testenv"
)

// RequireRunc ends a test on a machine that cannot run containers.
func RequireRunc(t *testing.T) {
	t.Helper()
	testenv.MustHaveRoot(t)
	if _, err := exec.LookPath("runc"); err != nil {
		testenv.Missing(t, "needs runc: %v", err)
	}
}

// BuildBinary builds kdiag from this tree, once, and returns its path, or else the one in
// KDIAG_BINARY.
func BuildBinary(t *testing.T) string {
	t.Helper()
	path, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("KDIAG_BINARY"); path != "" {
		return filepath.Abs(path)
	}

	path := builtPath()
	cmd := exec.Command("go", "build", "-o", path, "kdiag")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{string(out), err}
	}

	return path, nil
})

// builtPath returns where the binary is built: always the same place, so that RunTests finds it.
func builtPath() string {
	return filepath.Join(os.TempDir(), "kdiag-runctest-"+strconv.Itoa(os.Getpid()))
}

type buildError struct {
	out string
	error
}

func (e *buildError) Error() string { return "build kdiag: " + e.error.Error() + "\n" + e.out }

// RunTests runs a package's tests, removes what BuildBinary built, and returns the exit code. It
// is for TestMain.
func RunTests(m *testing.M) int {
	defer os.Remove(builtPath())
	return m.Run()
}

// DefaultCaps lists what runtimes give a container that asks for no capabilities.
var DefaultCaps = strings.Fields("CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE " +
	"NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP")

// A ContainerSpec describes a container to start.
type ContainerSpec struct {
	// ID is chosen where it is empty.
	ID string
	// Files maps paths in the root file system to contents.
	Files map[string][]byte
	// Binary puts kdiag there as /kdiag.
	Binary bool
	// ExecuteOnly names one of Files that nobody but root may read.
	ExecuteOnly string
	// Owner owns these files and the directories made for them.
	Owner    int
	ReadOnly bool

	Args   []string
	Env    []string
	Cwd    string
	UID    int
	GID    int
	Groups []int
	// Caps are the capabilities in the bounding, permitted and effective set, without CAP_.
	Caps []string
	// Ambient are those in the inheritable and ambient set.
	Ambient []string
	// NoNewPrivileges sets no_new_privs.
	NoNewPrivileges bool
	// Forbidden are more system calls that the filter forbids.
	Forbidden []string
	// NoFile is the soft limit on open files, 1024 where it is 0; the hard one is 4096.
	NoFile int

	// PIDsOf is the container whose PID namespace, and pod, it joins.
	PIDsOf *RuncContainer
	// HostPIDs gives it this machine's PID namespace.
	HostPIDs bool
	// PrivateCgroups gives it a cgroup namespace.
	PrivateCgroups bool
	// Stdout takes its output, if it is not nil.
	Stdout *os.File
}

// A RuncContainer is a running container.
type RuncContainer struct {
	ID   string
	Root string
	// PID is its first process, in this machine's PID namespace.
	PID int

	state string
	wait  func() int
}

// NewID chooses an ID as runtimes do.
func NewID() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// StartContainer starts a container, which is removed when the test ends.
func StartContainer(t *testing.T, spec ContainerSpec) *RuncContainer {
	t.Helper()
	RequireRunc(t)
	becomeSubreaper(t)

	bundle := t.TempDir()
	c := &RuncContainer{ID: spec.ID, Root: filepath.Join(bundle, "rootfs"), state: filepath.Join(bundle, "state")}
	if c.ID == "" {
		c.ID = NewID()
	}

	writeRoot(t, c.Root, spec)
	config, err := json.Marshal(newConfig(spec))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}

	pidFile := filepath.Join(bundle, "pid")
	cmd := c.runcCommand("run", "--detach", "--bundle="+bundle, "--pid-file="+pidFile, c.ID)

	// A file, not a pipe: the container keeps it open as long as it lives.
	log, err := os.Create(filepath.Join(bundle, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	cmd.Stdout, cmd.Stderr = log, log
	if spec.Stdout != nil {
		cmd.Stdout = spec.Stdout
	}

	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		t.Fatalf("runc run: %v\n%s", err, said)
	}

	c.PID = readPID(t, pidFile)
	c.wait = newWaiter(c.PID)
	t.Cleanup(func() { c.Remove(t) })
	return c
}

// Wait waits for the container's first process and returns its exit code: if a signal ended it,
// 128 and the signal's number.
func (c *RuncContainer) Wait() int { return c.wait() }

// Remove ends the container before the test does.
func (c *RuncContainer) Remove(t *testing.T) {
	t.Helper()
	if out, err := c.runcCommand("delete", "--force", c.ID).CombinedOutput(); err != nil {
		t.Errorf("runc delete: %v\n%s", err, out)
	}
	c.wait()
}

// ExecCommand returns a command in the container, without a terminal, that is not started yet.
func (c *RuncContainer) ExecCommand(args ...string) *exec.Cmd {
	return c.runcCommand(append([]string{"exec", c.ID}, args...)...)
}

// runcCommand returns a command of runc's. Each container has its own state directory.
func (c *RuncContainer) runcCommand(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root=" + c.state}, args...)...)
}

// writeRoot writes the root file system.
func writeRoot(t *testing.T, root string, spec ContainerSpec) {
	t.Helper()
	// Others than root must be able to pass: t.TempDir itself is closed to them, its parents are
	// not.
	for dir := filepath.Dir(root); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	mkdir := func(dir string) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, spec.Owner, spec.Owner); err != nil {
			t.Fatal(err)
		}
	}

	mkdir(root)
	if spec.Cwd != "" {
		mkdir(filepath.Join(root, spec.Cwd))
	}
	if spec.Binary {
		linkOrCopy(t, BuildBinary(t), filepath.Join(root, "kdiag"))
	}

	for name, content := range spec.Files {
		file := filepath.Join(root, name)
		mkdir(filepath.Dir(file))
		if err := os.WriteFile(file, content, 0o755); err != nil {
			t.Fatal(err)
		}

		owner := spec.Owner
		if name == spec.ExecuteOnly {
			owner = 0
			if err := os.Chmod(file, 0o711); err != nil {
				t.Fatal(err)
			}
		}

		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
}

// linkOrCopy makes to the same file as from, or a copy where the two are in different file
// systems.
func linkOrCopy(t *testing.T, from, to string) {
	t.Helper()
	if os.Link(from, to) == nil {
		return
	}

	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readPID reads a file that runc wrote a PID to.
func readPID(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}

	return pid
}
