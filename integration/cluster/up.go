package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// up leaves a healthy cluster on that runtime: the one that is there, or a new one in the place of
// what is left of it.
func (c *cluster) up(ctx context.Context, r containerRuntime) error {
	if current := c.currentRuntime(); current.name != r.name {
		if _, ok := c.running("containerd"); ok {
			fmt.Fprintf(c.out, "cluster is up on %s: starting a new one on %s, without its pods and images\n", current.name, r.name)
		}
	} else if c.settles(ctx) {
		fmt.Fprintf(c.out, "cluster is up on %s: KUBECONFIG=%s\n", r.name, c.Path("kubeconfig"))
		return nil
	}

	if other, err := c.neighbour(); err != nil {
		return err
	} else if other != "" {
		return fmt.Errorf("there is another cluster: take it down first (cluster --dir %s down)", other)
	}

	begin := time.Now()
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"tools", func(ctx context.Context) error { return errors.Join(c.checkTools(ctx, r), c.checkWayIn(r)) }},
		{"programs", func(ctx context.Context) error { return c.build(ctx, r) }},
		{"clean state", c.clean},
		{"configuration", func(context.Context) error { return c.writeConfig(r) }},
		{"certificates", func(context.Context) error { return c.writeCerts() }},
		{"network", c.makeNetwork},
		{"kernel settings", func(context.Context) error { return c.raiseSettings() }},
		{"cgroups", func(context.Context) error { return makeCgroups() }},
		{"etcd, containerd", func(ctx context.Context) error { return c.launch(ctx, "etcd", "containerd") }},
		{"pause image", c.loadPause},
		{"API server", func(ctx context.Context) error { return c.launch(ctx, "kube-apiserver") }},
		{"controllers, kubelet", func(ctx context.Context) error {
			return c.launch(ctx, "kube-controller-manager", "kube-scheduler", "kubelet")
		}},
		{"default service account", c.awaitServiceAccount},
	}

	for _, step := range steps {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(c.out, "%-24s %5.1fs\n", step.what, time.Since(start).Seconds())
	}

	fmt.Fprintf(c.out, "cluster is up on %s after %.1fs: KUBECONFIG=%s\n", r.name, time.Since(begin).Seconds(), c.Path("kubeconfig"))
	return nil
}

// healthy tells the first thing that is wrong.
func (c *cluster) healthy(ctx context.Context) error {
	if _, err := os.Stat(c.Path("kubeconfig")); err != nil {
		return err
	}

	for _, p := range components {
		if _, ok := c.running(p.name); !ok {
			return fmt.Errorf("%s does not run", p.name)
		}
		if err := p.ready(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}

	return hasServiceAccount(ctx, c)
}

// settles is true of a healthy cluster, and of one that becomes it: a busy machine's node misses a beat now and then, which is
// no reason to throw away all pods. It is false at once when a component does not run.
func (c *cluster) settles(ctx context.Context) bool {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if c.healthy(ctx) == nil {
			return true
		}

		for _, p := range components {
			if _, ok := c.running(p.name); !ok {
				return false
			}
		}

		if sleep(ctx, 200*time.Millisecond) != nil {
			return false
		}
	}

	return false
}

// launch starts components that do not wait for each other, and waits until all are ready.
func (c *cluster) launch(ctx context.Context, names ...string) error {
	var started []component
	for _, name := range names {
		p, err := componentNamed(name)
		if err != nil {
			return err
		}
		if _, ok := c.running(name); !ok {
			if err := c.spawn(name, p.argv(c)); err != nil {
				return err
			}
		}
		started = append(started, p)
	}

	for _, p := range started {
		if err := c.await(ctx, p); err != nil {
			return err
		}
	}

	return nil
}

// awaitServiceAccount waits for what the controller manager makes in a new namespace.
func (c *cluster) awaitServiceAccount(ctx context.Context) error {
	return c.await(ctx, component{name: "kube-controller-manager", ready: hasServiceAccount})
}
