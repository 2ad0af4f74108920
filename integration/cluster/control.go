package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// status prints a line for each component and one for the runtime, and fails when the cluster is
// not healthy.
func (c *cluster) status(ctx context.Context) error {
	for _, p := range components {
		state := "stopped"
		if proc, ok := c.running(p.name); ok {
			state = fmt.Sprintf("pid %-8d", proc.pid)
			if err := p.ready(ctx, c); err != nil {
				state += "not ready: " + err.Error()
			} else {
				state += "ready"
			}
		}
		fmt.Fprintf(c.out, "%-24s %s\n", p.name, state)
	}

	if exists(c.Path(runtimeFile)) {
		runtime, err := c.describeRuntime(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%-24s %s\n", "runtime", runtime)
	}

	if err := c.healthy(ctx); err != nil {
		return fmt.Errorf("not up: %w", err)
	}

	return nil
}

// start starts a component as up did, and waits until it is ready.
func (c *cluster) start(ctx context.Context, name string) error {
	if _, err := componentNamed(name); err != nil {
		return err
	}
	if _, err := os.Stat(c.Path("conf")); err != nil {
		return fmt.Errorf("the cluster is not up: %w", err)
	}
	return c.launch(ctx, name)
}

// stop ends a component, and leaves the others and the pods alone.
func (c *cluster) stop(ctx context.Context, name string, kill bool) error {
	if _, err := componentNamed(name); err != nil {
		return err
	}

	p, ok := c.running(name)
	if !ok {
		return nil
	}

	if !kill {
		if err := p.signal(syscall.SIGTERM); err != nil {
			return err
		}
		if p.gone(ctx, 5*time.Second) == nil {
			return nil
		}
	}

	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}

	return p.gone(ctx, 5*time.Second)
}
