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

// tools are the programs that are taken from the machine, and the Debian packages that have them.
var tools = []struct{ name, debian string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"runc", "runc"},
	{"ip", "iproute2"},
	{"iptables", "iptables"},
	{"mount", "mount"},
	{"nsenter", "util-linux"},
	{"go", "golang"},
}

// cniDir is where the CNI plugins are: where Debian puts them, or where everyone else does.
func cniDir() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return ""
}

// checkTools names what is missing, and what to install.
func checkTools() error {
	var missing, install []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.name); err != nil {
			missing = append(missing, tool.name)
			if !slices.Contains(install, tool.debian) {
				install = append(install, tool.debian)
			}
		}
	}
	if cniDir() == "" {
		missing, install = append(missing, "CNI plugins"), append(install, "containernetworking-plugins")
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("not found: %s (on Debian: apt-get install %s)", strings.Join(missing, ", "), strings.Join(install, " "))
}

// build makes the programs in bin, or finds that they are up to date.
func (c *cluster) build(ctx context.Context) error {
	root, err := projectRoot()
	if err != nil {
		return err
	}
	if !exists(c.Path("bin/kube")) {
		fmt.Fprintln(c.out, "building Kubernetes: with a cold build cache this takes some minutes")
	}
	// Servers and kubectl report what they are built as, and kubectl warns when the two are far apart.
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
	cmd := c.tool(ctx, "go", "build", "-trimpath", "-ldflags", strings.Join(ldflags, " "),
		"-o", c.Path("bin")+"/", "./kube", "./kubectl", "./pause")
	cmd.Dir = filepath.Join(root, moduleDir)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
