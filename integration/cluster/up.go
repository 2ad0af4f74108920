package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// bringUp starts a cluster on a runtime, unless a healthy one is there. It removes
// what is left of an earlier one.
func (c *cluster) bringUp(ctx context.Context, r containerRuntime) error {
	if current := c.readRuntime(); current.name != r.name {
		if _, ok := c.findComponent("containerd"); ok {
			fmt.Fprintf(c.out, "cluster is up on %s: starting a new one on %s, without its pods and images\n", current.name, r.name)
		}
	} else if c.becomesHealthy(ctx) {
		fmt.Fprintf(c.out, "cluster is up on %s: KUBECONFIG=%s\n", r.name, c.Path("kubeconfig"))
		return nil
	}

	if other, err := c.findNeighbour(); err != nil {
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
		{"programs", func(ctx context.Context) error { return c.buildPrograms(ctx, r) }},
		{"clean state", c.removeAll},
		{"configuration", func(context.Context) error { return c.writeConfig(r) }},
		{"certificates", func(context.Context) error { return c.writeCerts() }},
		{"network", c.createNetwork},
		{"kernel settings", func(context.Context) error { return c.raiseSettings() }},
		{"cgroups", func(context.Context) error { return createCgroups() }},
		{"etcd, containerd", func(ctx context.Context) error { return c.launchComponents(ctx, "etcd", "containerd") }},
		{"pause image", c.loadPause},
		{"API server", func(ctx context.Context) error { return c.launchComponents(ctx, "kube-apiserver") }},
		{"controllers, kubelet", func(ctx context.Context) error {
			return c.launchComponents(ctx, "kube-controller-manager", "kube-scheduler", "kubelet")
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

// checkHealth returns the first thing that is wrong.
func (c *cluster) checkHealth(ctx context.Context) error {
	if _, err := os.Stat(c.Path("kubeconfig")); err != nil {
		return err
	}

	for _, p := range components {
		if _, ok := c.findComponent(p.name); !ok {
			return fmt.Errorf("%s is not running", p.name)
		}
		if err := p.ready(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}

	return checkServiceAccount(ctx, c)
}

// becomesHealthy tells whether the cluster is healthy, or becomes so in a while: a
// busy machine's node misses a beat now and then, which is no reason to throw away
// all pods. It does not wait for a component that does not run.
func (c *cluster) becomesHealthy(ctx context.Context) bool {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if c.checkHealth(ctx) == nil {
			return true
		}

		for _, p := range components {
			if _, ok := c.findComponent(p.name); !ok {
				return false
			}
		}

		if sleep(ctx, 200*time.Millisecond) != nil {
			return false
		}
	}

	return false
}

// launchComponents starts components that do not wait for each other, and waits
// until all are ready.
func (c *cluster) launchComponents(ctx context.Context, names ...string) error {
	var started []component
	for _, name := range names {
		p, err := findComponentKind(name)
		if err != nil {
			return err
		}
		if _, ok := c.findComponent(name); !ok {
			if err := c.spawnComponent(name, p.argv(c)); err != nil {
				return err
			}
		}
		started = append(started, p)
	}

	for _, p := range started {
		if err := c.awaitComponent(ctx, p); err != nil {
			return err
		}
	}

	return nil
}

// awaitServiceAccount waits for what the controller manager creates in a new
// namespace.
func (c *cluster) awaitServiceAccount(ctx context.Context) error {
	return c.awaitComponent(ctx, component{name: "kube-controller-manager", ready: checkServiceAccount})
}
