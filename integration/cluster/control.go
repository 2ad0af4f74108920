package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// printStatus prints a line for each component and one for the runtime, and fails if
// the cluster is not healthy.
func (c *cluster) printStatus(ctx context.Context) error {
	for _, p := range components {
		state := "stopped"
		if proc, ok := c.findComponent(p.name); ok {
			state = fmt.Sprintf("pid %-8d", proc.pid)
			if err := p.ready(ctx, c); err != nil {
				state += "not ready: " + err.Error()
			} else {
				state += "ready"
			}
		}
		fmt.Fprintf(c.out, "%-24s %s\n", p.name, state)
	}

	if fileExists(c.Path(runtimeFile)) {
		runtime, err := c.describeRuntime(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%-24s %s\n", "runtime", runtime)
	}

	if err := c.checkHealth(ctx); err != nil {
		return fmt.Errorf("not up: %w", err)
	}

	return nil
}

// startComponent starts a component as up did, and waits until it is ready.
func (c *cluster) startComponent(ctx context.Context, name string) error {
	if _, err := findComponentKind(name); err != nil {
		return err
	}
	if _, err := os.Stat(c.Path("conf")); err != nil {
		return fmt.Errorf("the cluster is not up: %w", err)
	}
	return c.launchComponents(ctx, name)
}

// stopComponent ends a component, and leaves the others and the pods alone.
func (c *cluster) stopComponent(ctx context.Context, name string, kill bool) error {
	if _, err := findComponentKind(name); err != nil {
		return err
	}

	p, ok := c.findComponent(name)
	if !ok {
		return nil
	}

	if !kill {
		if err := p.signal(syscall.SIGTERM); err != nil {
			return err
		}
		if p.awaitEnd(ctx, 5*time.Second) == nil {
			return nil
		}
	}

	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}

	return p.awaitEnd(ctx, 5*time.Second)
}
