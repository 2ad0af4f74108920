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

// cgroupDirs gives the pods' cgroup in every hierarchy: one for each controller in cgroup v1, a single one in v2.
func cgroupDirs() ([]string, error) {
	all, err := mounts()
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

// makeCgroups makes the cgroup that the kubelet is told to keep to, and wants to find.
func makeCgroups() error {
	dirs, err := cgroupDirs()
	if err != nil {
		return err
	}

	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// In v2 a cgroup has the controllers that its parent hands down. What the root has not got, the kubelet will name.
		for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
			_ = os.WriteFile(filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
	}

	return nil
}

// killPods kills what is in the pods' cgroup: the containers' processes have an environment of their own.
func killPods(ctx context.Context) error {
	roots, err := cgroupDirs()
	if err != nil {
		return err
	}

	return killAll(ctx, "the pods' processes", func() ([]func() error, error) {
		var kills []func() error
		for _, root := range roots {
			pids, err := cgroupPids(root)
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

// cgroupPids gives the processes in a cgroup and below. It thaws what is frozen, for that would not die.
func cgroupPids(root string) ([]int, error) {
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

// removeCgroups removes the pods' cgroups, the innermost first. A cgroup is busy for a moment after its last process died.
func removeCgroups(ctx context.Context) error {
	roots, err := cgroupDirs()
	if err != nil {
		return err
	}

	for _, root := range roots {
		for end := time.Now().Add(5 * time.Second); ; {
			err := removeDirs(root)
			if err == nil {
				break
			}
			if time.Now().After(end) {
				return err
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}

	return nil
}

// removeDirs removes a tree of directories that hold nothing but what the kernel put there.
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
