package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// listCgroupDirs returns the cgroup of the pods in every hierarchy: one for each
// controller in cgroup v1, a single one in v2.
func listCgroupDirs() ([]string, error) {
	all, err := readMounts()
	if err != nil {
		return nil, err
	}

	var dirs []string
	for _, m := range all {
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			dirs = append(dirs, filepath.Join(m.point, node))
		}
	}

	return dirs, nil
}

// createCgroups creates the cgroup that the kubelet keeps the pods in, and expects
// to find.
func createCgroups() error {
	dirs, err := listCgroupDirs()
	if err != nil {
		return err
	}

	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// In v2 a cgroup has the controllers that its parent hands down. What the root
		// has not got, the kubelet will name.
		for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			_ = os.WriteFile(filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
	}

	return nil
}

// killPods kills what is in the pods' cgroup. The environment of containers does not
// carry the cluster's mark.
func killPods(ctx context.Context) error {
	roots, err := listCgroupDirs()
	if err != nil {
		return err
	}

	return killAll(ctx, "the pods' processes", func() ([]func() error, error) {
		var kills []func() error
		for _, root := range roots {
			pids, err := listCgroupProcesses(root)
			if err != nil {
				return nil, err
			}
			for _, pid := range pids {
				kills = append(kills, func() error { return syscall.Kill(pid, syscall.SIGKILL) })
			}
		}

		return kills, nil
	})
}

// listCgroupProcesses returns the processes in a cgroup and below. It thaws what is
// frozen, which would not die.
func listCgroupProcesses(root string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}

		_ = os.WriteFile(filepath.Join(path, "freezer.state"), []byte("THAWED"), 0)
		_ = os.WriteFile(filepath.Join(path, "cgroup.freeze"), []byte("0"), 0)
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
			return err
		}

		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}

		return nil
	})

	return pids, err
}

// removeCgroups removes the pods' cgroups, the innermost first. A cgroup is busy for
// a moment after its last process has died.
func removeCgroups(ctx context.Context) error {
	roots, err := listCgroupDirs()
	if err != nil {
		return err
	}

	for _, root := range roots {
		if err := waitUntil(ctx, 5*time.Second, func() error { return removeDirs(root) }); err != nil {
			return err
		}
	}

	return nil
}

// removeDirs removes a tree of directories that hold nothing but what the kernel put
// there.
func removeDirs(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})

	for _, dir := range slices.Backward(dirs) {
		if e := syscall.Rmdir(dir); e != nil && !errors.Is(e, syscall.ENOENT) {
			err = errors.Join(err, fmt.Errorf("rmdir %s: %w", dir, e))
		}
	}

	return err
}
