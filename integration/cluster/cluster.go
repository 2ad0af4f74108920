package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// What the machine sees of the cluster, apart from its state directory. The names and
// addresses are fixed, so that tests can rely on them; hence there is one cluster on a
// machine.
const (
	node     = "kdiag-node" // the node, its network namespace, its cgroup
	hostLink = "kdiag-host" // the host's end of the veth pair to the node

	hostIP4, nodeIP4 = "10.199.0.1", "10.199.0.2"
	hostIP6, nodeIP6 = "fd6b:6469:6167::1", "fd6b:6469:6167::2"
	podNet4, podNet6 = "10.200.0.0/16", "fd6b:6469:6167:1::/64"
	serviceIP        = "10.201.0.1" // the API server's, first of the services'
	serviceNets      = "10.201.0.0/16,fd6b:6469:6167:2::/112"

	// Below the range that the kernel takes ports of outgoing connections from.
	apiserverPort         = "26443"
	controllerManagerPort = "26444"
	schedulerPort         = "26445"
	kubeletHealthPort     = "10248"

	pauseImage = "localhost/kdiag-pause:1"
)

// lockName is that of an abstract socket: it leaves no file, and goes with the process
// that holds it.
const lockName = "@kdiag-cluster"

// cluster carries the state directory of a cluster, and where to print its progress.
type cluster struct {
	dir string
	out io.Writer
}

// Path returns the path of a file in the state directory. The templates use it, and
// the methods below.
func (c *cluster) Path(name string) string { return filepath.Join(c.dir, name) }

func (*cluster) Node() string       { return node }
func (*cluster) NodeIP4() string    { return nodeIP4 }
func (*cluster) HostIP4() string    { return hostIP4 }
func (*cluster) PodNet4() string    { return podNet4 }
func (*cluster) PodNet6() string    { return podNet6 }
func (*cluster) PauseImage() string { return pauseImage }
func (*cluster) CNIDir() string     { return findCNIDir() }

// apiserverAddr returns the address of the API server, as this host sees it.
func apiserverAddr() string { return net.JoinHostPort("127.0.0.1", apiserverPort) }

//go:embed conf
var confFiles embed.FS

// writeConfig writes the configuration files for a runtime.
func (c *cluster) writeConfig(r containerRuntime) error {
	for _, dir := range []string{"conf/cni", "log/pods", "kubelet", "run"} {
		if err := os.MkdirAll(c.Path(dir), 0o755); err != nil {
			return err
		}
	}

	if err := os.WriteFile(c.Path(runtimeFile), []byte(r.name), 0o644); err != nil {
		return err
	}

	templates, err := template.ParseFS(confFiles, "conf/*")
	if err != nil {
		return err
	}

	for name, file := range map[string]string{
		r.config:       "conf/containerd.toml",
		"cni.conflist": "conf/cni/kdiag.conflist",
		"kubelet.yaml": "conf/kubelet.yaml",
		"audit.yaml":   "conf/audit.yaml",
	} {
		var text strings.Builder
		if err := templates.ExecuteTemplate(&text, name, c); err != nil {
			return err
		}
		if err := os.WriteFile(c.Path(file), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}

	return nil
}

// moduleDir is this module's place in the project's root.
const moduleDir = "integration/cluster"

// findProjectRoot finds the nearest directory upwards that has this module in it.
func findProjectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}

	for {
		if _, err := os.Stat(filepath.Join(dir, moduleDir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no %s in this directory or above: run this inside the project", moduleDir)
		}
		dir = filepath.Dir(dir)
	}
}
