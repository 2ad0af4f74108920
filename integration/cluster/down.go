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

// down removes the cluster, whatever is left of it.
func (c *cluster) down(ctx context.Context) error {
	if err := c.clean(ctx); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "cluster is down")
	return nil
}

// clean goes from what makes things to what is made: processes, mounts, the network, cgroups, files. The programs in bin stay.
func (c *cluster) clean(ctx context.Context) error {
	other, err := c.neighbour()
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

// neighbour gives the state directory of a cluster that runs and is not this one.
func (c *cluster) neighbour() (string, error) {
	all, err := processes()
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if _, err := componentNamed(p.part); err == nil && p.dir != c.dir {
			return p.dir, nil
		}
	}
	return "", nil
}

// killComponents kills all that up has started, and its children: containerd's shims outlive it by design.
func (c *cluster) killComponents(ctx context.Context) error {
	var killed []process
	err := killAll(ctx, "the cluster's processes", func() (kills []func() error, err error) {
		all, err := processes()
		for _, p := range all {
			if p.dir == c.dir {
				killed = append(killed, p)
				kills = append(kills, func() error { return p.signal(syscall.SIGKILL) })
			}
		}
		return kills, err
	})

	for _, p := range killed {
		err = errors.Join(err, p.gone(ctx, 10*time.Second))
	}

	return err
}

// killAll repeats until there is nothing to kill, for what is killed may just have started something.
func killAll(ctx context.Context, what string, find func() ([]func() error, error)) error {
	for end := time.Now().Add(10 * time.Second); ; {
		kills, err := find()
		if err != nil || len(kills) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %d do not die", what, len(kills))
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

// removeFiles empties the state directory, but for the programs.
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
