package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// litter is what is written outside the state directory, by programs that cannot be
// told otherwise.
var litter = []struct {
	dir, pattern string
	ours         func(path, stateDir string) bool
}{
	{"/run/containerd/s", "*", isUnserved},       // containerd's shims
	{"/var/lib/cni/results", "*", containsPath},  // libcni
	{"/var/log/containers", "*.log", pointsInto}, // the kubelet, and below
	{"/var/lib/kubelet/device-plugins", "kubelet.sock", isUnserved},
	{"/var/lib/kubelet/device-plugins", "kubelet_internal_checkpoint", hasNoKubelet},
	{"/var/lib/kubelet/device-plugins", "DEPRECATION", hasNoKubelet},
}

// litterDirs were perhaps made for it; they go if nothing of anyone's is in them, the inner ones
// first.
var litterDirs = []string{
	"/run/containerd/s",
	"/run/containerd/fifo", "/run/containerd/runc/k8s.io", "/run/containerd/runc", // "ctr run"
	"/run/containerd", "/var/lib/cni/results", "/var/lib/cni", "/var/log/containers", "/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
}

// removeLitter removes what a cluster has written outside its state directory.
func removeLitter(stateDir string) error {
	for _, l := range litter {
		paths, err := filepath.Glob(filepath.Join(l.dir, l.pattern))
		if err != nil {
			return err
		}

		for _, path := range paths {
			if !l.ours(path, stateDir) {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}

	for _, dir := range litterDirs {
		_ = syscall.Rmdir(dir)
	}
	return nil
}

// isUnserved tells whether nobody listens on a socket any more.
func isUnserved(path, _ string) bool {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// pointsInto tells whether a path is a symbolic link into a directory.
func pointsInto(path, dir string) bool {
	target, err := os.Readlink(path)
	return err == nil && strings.HasPrefix(target, dir+"/")
}

// containsPath tells whether a file contains a path in a directory.
func containsPath(path, dir string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(text), dir+"/")
}

// hasNoKubelet tells whether a file has no socket of a kubelet beside it. That of a
// kubelet which has ended was removed just before.
func hasNoKubelet(path, _ string) bool {
	_, err := os.Lstat(filepath.Join(filepath.Dir(path), "kubelet.sock"))
	return errors.Is(err, os.ErrNotExist)
}
