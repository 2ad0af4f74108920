package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// runIP runs a batch of ip(8) commands in a network namespace, or in the host's if
// netns is empty.
func (c *cluster) runIP(ctx context.Context, netns, batch string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := c.toolCommand(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(batch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// createNetwork creates the node's network namespace and connects it to the host.
func (c *cluster) createNetwork(ctx context.Context) error {
	err := c.runIP(ctx, "", `
netns add `+node+`
link add `+hostLink+` type veth peer name eth0 netns `+node+`
addr add `+hostIP4+`/30 dev `+hostLink+`
addr add `+hostIP6+`/64 dev `+hostLink+` nodad
link set `+hostLink+` up
`)
	if err != nil {
		return err
	}

	err = c.runIP(ctx, node, `
link set lo up
addr add `+nodeIP4+`/30 dev eth0
addr add `+nodeIP6+`/64 dev eth0 nodad
link set eth0 up
route add default via `+hostIP4+`
route add default via `+hostIP6+`
`)
	if err != nil {
		return err
	}
	// Pods reach the host by the node's address. One rule for all of them: the bridge
	// plugin's ipMasq would call iptables dozens of times for every pod, and hold up 60
	// of them for half a minute.
	if err := c.addMasquerade(ctx, "iptables", podNet4); err != nil {
		return err
	}

	return c.addMasquerade(ctx, "ip6tables", podNet6)
}

// addMasquerade adds a rule that gives pods' packets the node's address where they
// leave it.
func (c *cluster) addMasquerade(ctx context.Context, iptables, from string) error {
	argv := onNode(iptables, "-t", "nat", "-A", "POSTROUTING", "-s", from, "!", "-d", from, "-j", "MASQUERADE")
	if out, err := c.toolCommand(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", iptables, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// removeNetwork removes the node's network namespace. The veth pair, the pods'
// bridge and all netfilter rules go with it.
func (c *cluster) removeNetwork(ctx context.Context) error {
	if fileExists(netnsDir + "/" + node) {
		if err := c.runIP(ctx, "", "netns del "+node+"\n"); err != nil {
			return err
		}
	}

	// The first `ip netns add` on a machine makes a mount of the directory; the last to
	// leave takes it away. It is busy, and stays, when another's namespace is in it.
	if left, err := filepath.Glob(netnsDir + "/*"); err == nil && len(left) == 0 {
		_ = syscall.Unmount(netnsDir, 0)
		_ = syscall.Rmdir(netnsDir)
	}

	// The kernel dismantles a namespace some time after; the pair must be gone when we
	// say so. It may be there alone, too.
	if fileExists(linkDir + hostLink) {
		if err := c.runIP(ctx, "", "link del "+hostLink+"\n"); err != nil && fileExists(linkDir+hostLink) {
			return err
		}
	}

	return nil
}

const (
	netnsDir = "/run/netns"
	linkDir  = "/sys/class/net/"
)

// fileExists tells whether there is a file.
func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
