package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// takeDown removes the cluster, whatever is left of it.
func (c *cluster) takeDown(ctx context.Context) error {
	if err := c.removeAll(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "cluster is down")
	return nil
}

// removeAll removes everything but the programs in bin. What makes things goes
// before what it makes: processes, mounts, the network, cgroups, files.
func (c *cluster) removeAll(ctx context.Context) error {
	other, err := c.findNeighbour()
	if err != nil {
		return err
	}
	if err := c.killComponents(ctx); err != nil {
		return err
	}

	if other == "" { // else these are the other's
		if err := killPods(ctx); err != nil {
			return err
		}
		if err := c.removeNetwork(ctx); err != nil {
			return err
		}
		if err := removeCgroups(ctx); err != nil {
			return err
		}
	}

	if err := c.unmountAll(ctx); err != nil {
		return err
	}
	if err := c.restoreSettings(); err != nil {
		return err
	}
	if err := c.removeFiles(); err != nil {
		return err
	}

	return removeLitter(c.dir)
}

// findNeighbour finds another cluster that runs, and returns its state directory.
func (c *cluster) findNeighbour() (string, error) {
	all, err := listProcesses()
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if _, err := findComponentKind(p.part); err == nil && p.dir != c.dir {
			return p.dir, nil
		}
	}
	return "", nil
}

// killComponents kills what up has started, and its children: containerd's shims
// outlive it by design.
func (c *cluster) killComponents(ctx context.Context) error {
	var killed []process
	err := killAll(ctx, "the cluster's processes", func() (kills []func() error, err error) {
		all, err := listProcesses()
		for _, p := range all {
			if p.dir == c.dir {
				killed = append(killed, p)
				kills = append(kills, func() error { return p.signal(syscall.SIGKILL) })
			}
		}
		return kills, err
	})

	for _, p := range killed {
		err = errors.Join(err, p.awaitEnd(ctx, 10*time.Second))
	}

	return err
}

// killAll kills until find finds nothing more, for what is killed may just have
// started something.
func killAll(ctx context.Context, what string, find func() ([]func() error, error)) error {
	for end := time.Now().Add(10 * time.Second); ; {
		kills, err := find()
		if err != nil || len(kills) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %d of them do not end", what, len(kills))
		}

		for _, kill := range kills {
			if err := kill(); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}

		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// removeFiles removes everything in the state directory but the programs.
func (c *cluster) removeFiles() error {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}

	for _, entry := range entries {
		if entry.Name() == "bin" {
			continue
		}
		if err := os.RemoveAll(c.Path(entry.Name())); err != nil {
			return err
		}
	}

	return nil
}
