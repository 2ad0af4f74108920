package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// containerRuntime describes a containerd and a runc that go together.
type containerRuntime struct {
	name   string
	config string // the template of its configuration
	built  bool   // from the module in runtimeModule, into bin/NAME; else they are the machine's own
	tools  []tool // taken from the machine

	userNamespaces bool // it heeds a pod's "hostUsers: false"
}

// runtimes lists what the cluster can run on. The first is the default.
var runtimes = []containerRuntime{
	{
		name:   "debian",
		config: "containerd.toml",
		tools: []tool{
			{"containerd", "containerd"}, {"ctr", "containerd"}, {"containerd-shim-runc-v2", "containerd"}, {"runc", "runc"},
		},
	},
	{
		name:   "containerd2",
		config: "containerd2.toml",
		built:  true,
		tools:  []tool{{"gcc", "gcc"}, {"pkg-config", "pkg-config"}},

		userNamespaces: true,
	},
}

// runtimeModule is the directory in this module whose go.mod pins what is built.
const runtimeModule = "runtime"

// Its versions are those of that go.mod, which a test holds.
const (
	containerdVersion = "v2.4.2"
	runcVersion       = "v1.5.2"
)

// findRuntime finds a runtime by its name, or names those that there are.
func findRuntime(name string) (containerRuntime, error) {
	var names []string
	for _, r := range runtimes {
		if r.name == name {
			return r, nil
		}
		names = append(names, r.name)
	}
	return containerRuntime{}, fmt.Errorf("unknown runtime %q: use one of %s", name, strings.Join(names, ", "))
}

// runtimeFile keeps the name of the runtime for the commands that follow up.
const runtimeFile = "conf/runtime"

// readRuntime returns the runtime that the cluster was started on, or the default if
// there is none.
func (c *cluster) readRuntime() containerRuntime {
	name, _ := os.ReadFile(c.Path(runtimeFile))
	r, err := findRuntime(string(name))
	if err != nil {
		return runtimes[0] // nothing was started yet, or up was killed as it began to
	}
	return r
}

// buildDir returns the directory of the programs that are built for a runtime.
func (c *cluster) buildDir(r containerRuntime) string { return c.Path("bin/" + r.name) }

// runtimeProgram returns the path of a program of the current runtime, or its name
// if it is the machine's own.
func (c *cluster) runtimeProgram(name string) string {
	r := c.readRuntime()
	if !r.built {
		return name
	}
	return filepath.Join(c.buildDir(r), name)
}

// searchPath returns the PATH of the components. Containerd looks there for its
// shim, and the shim for runc: those that were built come first, or those of another
// release would be found.
func (c *cluster) searchPath() string {
	r := c.readRuntime()
	if !r.built {
		return os.Getenv("PATH")
	}
	return c.buildDir(r) + ":" + os.Getenv("PATH")
}

// buildRuntime builds containerd and runc, unless they are up to date.
func (c *cluster) buildRuntime(ctx context.Context, r containerRuntime) error {
	if !r.built {
		return nil
	}
	if !fileExists(filepath.Join(c.buildDir(r), "runc")) {
		fmt.Fprintf(c.out, "building containerd %s and runc %s\n", containerdVersion, runcVersion)
	}

	const containerd = "github.com/containerd/containerd/v2"
	err := c.goBuild(ctx, runtimeModule, "CGO_ENABLED=0",
		"-tags", "no_devmapper,no_zfs",
		"-ldflags", "-s -w -X "+containerd+"/version.Version="+containerdVersion,
		"-o", c.buildDir(r)+"/",
		containerd+"/cmd/containerd", containerd+"/cmd/containerd-shim-runc-v2", containerd+"/cmd/ctr")
	if err != nil {
		return err
	}

	// Its seccomp filters are libseccomp's, and its first steps in the container are in C.
	return c.goBuild(ctx, runtimeModule, "CGO_ENABLED=1",
		"-buildmode=pie", "-tags", "seccomp", "-ldflags", "-s -w",
		"-o", c.buildDir(r)+"/", "github.com/opencontainers/runc")
}

// checkWayIn finds a directory above the state directory that other users cannot
// pass. A container with a user namespace is another user, even as root, and its
// files are in there.
func (c *cluster) checkWayIn(r containerRuntime) error {
	if !r.userNamespaces {
		return nil
	}

	for dir := c.dir; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}

		if err == nil && info.Mode()&0o001 == 0 {
			return fmt.Errorf("pods with user namespaces cannot pass %s (mode %#o): chmod o+x it, or use another --dir",
				dir, info.Mode().Perm())
		}

		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// describeRuntime returns the name of the runtime and the versions that its programs
// print.
func (c *cluster) describeRuntime(ctx context.Context) (string, error) {
	containerd, err := c.askVersion(ctx, "containerd")
	if err != nil {
		return "", err
	}
	runc, err := c.askVersion(ctx, "runc")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: containerd %s, runc %s", c.readRuntime().name, containerd, runc), nil
}

// askVersion runs a program with --version. Both programs answer with their name,
// one other word and the version.
func (c *cluster) askVersion(ctx context.Context, program string) (string, error) {
	out, err := c.toolCommand(ctx, c.runtimeProgram(program), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", program, err)
	}
	words := strings.Fields(string(out))
	if len(words) < 3 {
		return "", fmt.Errorf("%s --version: no version in %q", program, out)
	}
	return words[2], nil
}
