// Package runctest starts containers with runc for the tests of what runs
// inside containers: with namespaces, capabilities and system call filters as
// a kubelet's runtime would make them.
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

	"kdiag/internal/testenv"
)

// Require ends a test on a machine that cannot run containers.
func Require(t *testing.T) {
	t.Helper()
	testenv.MustHaveRoot(t)
	if _, err := exec.LookPath("runc"); err != nil {
		testenv.Missing(t, "needs runc: %v", err)
	}
}

// Binary is the path of kdiag, static and built from this tree, or what
// KDIAG_BINARY names.
func Binary(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("KDIAG_BINARY"); path != "" {
		return filepath.Abs(path)
	}

	// Of a fixed name, so that it is not built into ever more directories.
	path := filepath.Join(os.TempDir(), "kdiag-runctest-"+strconv.Itoa(os.Getpid()))
	cmd := exec.Command("go", "build", "-o", path, "kdiag")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &buildError{string(out), err}
	}

	return path, nil
})

type buildError struct {
	out string
	error
}

func (e *buildError) Error() string { return "build kdiag: " + e.error.Error() + "\n" + e.out }

// Cleanup removes what Binary built, for TestMain.
func Cleanup() {
	_ = os.Remove(filepath.Join(os.TempDir(), "kdiag-runctest-"+strconv.Itoa(os.Getpid())))
}

// DefaultCaps are what runtimes give a container that asks for none.
var DefaultCaps = strings.Fields("CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE " +
	"NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP")

// Spec is a container to be.
type Spec struct {
	// ID is chosen when empty.
	ID string
	// Files are put into the root file system: path to content.
	Files map[string][]byte
	// Binary is put there as /kdiag.
	Binary bool
	// ExecuteOnly is one of them that nobody but root may read.
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
	// Caps are the capabilities in the bounding, permitted and effective set,
	// without CAP_.
	Caps []string
	// Ambient are those in the inheritable and ambient set too.
	Ambient []string
	// NoNewPrivileges is no_new_privs.
	NoNewPrivileges bool
	// Forbidden are system calls that the filter forbids besides.
	Forbidden []string
	// NoFile is the soft limit on open files, 1024 when 0; the hard one is 4096.
	NoFile int

	// PIDsOf is whose PID namespace, and pod, it joins.
	PIDsOf *Container
	// HostPIDs gives it this machine's PID namespace.
	HostPIDs bool
	// PrivateCgroups gives it a cgroup namespace.
	PrivateCgroups bool
	// Stdout takes its output; none when nil.
	Stdout *os.File
}

// Container is a running container.
type Container struct {
	ID   string
	Root string
	// PID is its first process, in this machine's PID namespace.
	PID int

	state string
	wait  func() int
}

// NewID is an ID as runtimes choose it.
func NewID() string {
	var random [32]byte
	_, _ = rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// Start starts a container, which is removed when the test ends.
func Start(t *testing.T, spec Spec) *Container {
	t.Helper()
	Require(t)
	adopt(t)
	bundle := t.TempDir()
	c := &Container{ID: spec.ID, Root: filepath.Join(bundle, "rootfs"), state: filepath.Join(bundle, "state")}
	if c.ID == "" {
		c.ID = NewID()
	}

	writeRoot(t, c.Root, spec)
	config, err := json.Marshal(config(spec))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}

	pidFile := filepath.Join(bundle, "pid")
	cmd := c.runc("run", "--detach", "--bundle="+bundle, "--pid-file="+pidFile, c.ID)
	// A file, not a pipe: the container has it as long as it lives.
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
	c.wait = waiter(c.PID)
	t.Cleanup(func() { c.Remove(t) })
	return c
}

// Wait waits for the container's first process and returns its exit code, 128
// more than the signal's number when one ended it.
func (c *Container) Wait() int { return c.wait() }

// Remove ends the container before the test does.
func (c *Container) Remove(t *testing.T) {
	t.Helper()
	if out, err := c.runc("delete", "--force", c.ID).CombinedOutput(); err != nil {
		t.Errorf("runc delete: %v\n%s", err, out)
	}
	c.wait()
}

// Exec is a command in the container, without a terminal, not yet started.
func (c *Container) Exec(args ...string) *exec.Cmd {
	return c.runc(append([]string{"exec", c.ID}, args...)...)
}

// runc uses an own state directory for each container.
func (c *Container) runc(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root=" + c.state}, args...)...)
}

func writeRoot(t *testing.T, root string, spec Spec) {
	t.Helper()
	// Others than root must pass: TempDir's parents are open, itself is not.
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
		link(t, Binary(t), filepath.Join(root, "kdiag"))
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

// link makes to the same file as from, by a copy where it must.
func link(t *testing.T, from, to string) {
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
