package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// kubernetesVersion is go.mod's, which a test holds.
const kubernetesVersion = "v1.37.2"

// tool is a program that is taken from the machine, and the Debian package that has it.
type tool struct{ name, debian string }

// tools are those that every cluster needs.
var tools = []tool{
	{"ip", "iproute2"},
	{"iptables", "iptables"},
	{"mount", "mount"},
	{"nsenter", "util-linux"},
	{"go", "golang"},
}

// findCNIDir finds the directory of the CNI plugins: where Debian puts them, or
// where everyone else does.
func findCNIDir() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// checkTools names the programs that are missing for a cluster on a runtime, and the
// packages to install.
func (c *cluster) checkTools(ctx context.Context, r containerRuntime) error {
	var missing, install []string
	lack := func(what, debian string) {
		missing = append(missing, what)
		if !slices.Contains(install, debian) {
			install = append(install, debian)
		}
	}

	for _, tool := range slices.Concat(tools, r.tools) {
		if _, err := exec.LookPath(tool.name); err != nil {
			lack(tool.name, tool.debian)
		}
	}

	if findCNIDir() == "" {
		lack("CNI plugins", "containernetworking-plugins")
	}
	if r.built && c.toolCommand(ctx, "pkg-config", "--exists", "libseccomp").Run() != nil {
		lack("libseccomp's headers", "libseccomp-dev")
	}
	if missing == nil {
		return nil
	}

	return fmt.Errorf("not found: %s (on Debian: apt-get install %s)", strings.Join(missing, ", "), strings.Join(install, " "))
}

// buildPrograms builds the programs in bin, unless they are up to date.
func (c *cluster) buildPrograms(ctx context.Context, r containerRuntime) error {
	if err := c.buildKubernetes(ctx); err != nil {
		return err
	}
	return c.buildRuntime(ctx, r)
}

// buildKubernetes builds the servers, kubectl and the pause program.
func (c *cluster) buildKubernetes(ctx context.Context) error {
	if !fileExists(c.Path("bin/kube")) {
		fmt.Fprintln(c.out, "building Kubernetes: with a cold build cache this takes some minutes")
	}

	// Servers and kubectl report what they are built as, and kubectl warns when the two
	// are far apart.
	const pkg = "k8s.io/component-base/version"
	_, minor, _ := strings.Cut(kubernetesVersion, ".")
	minor, _, _ = strings.Cut(minor, ".")
	ldflags := []string{
		"-s", "-w",
		"-X", pkg + ".gitVersion=" + kubernetesVersion,
		"-X", pkg + ".gitMajor=1",
		"-X", pkg + ".gitMinor=" + minor,
		"-X", pkg + ".gitTreeState=archive",
	}

	return c.goBuild(ctx, ".", "CGO_ENABLED=0",
		"-ldflags", strings.Join(ldflags, " "), "-o", c.Path("bin")+"/", "./kube", "./kubectl", "./pause")
}

// goBuild runs go build in a directory of this module, with the setting of
// CGO_ENABLED that cgo gives.
func (c *cluster) goBuild(ctx context.Context, dir, cgo string, args ...string) error {
	root, err := findProjectRoot()
	if err != nil {
		return err
	}

	cmd := c.toolCommand(ctx, "go", append([]string{"build", "-trimpath"}, args...)...)
	cmd.Dir = filepath.Join(root, moduleDir, dir)
	cmd.Env = append(cmd.Env, cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}

	return nil
}
