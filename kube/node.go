package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ReadNode reads a node. Not every user may.
func (c *Cluster) ReadNode(ctx context.Context, name string) (*corev1.Node, error) {
	node, err := getObject[corev1.Node](ctx, c.nodes(), name)
	if err != nil {
		return nil, c.explainError(ctx, "read node "+name, accessRight{verb: "get", resource: "nodes", name: name}, err)
	}
	return node, nil
}

// Kernel holds a version of Linux.
type Kernel struct{ Major, Minor int }

func (k Kernel) String() string { return fmt.Sprintf("%d.%d", k.Major, k.Minor) }

var (
	// OldestShellKernel is the oldest version on which shells work: pidfd_open(2).
	OldestShellKernel = Kernel{5, 3}
	// OldestOwnerKernel is the oldest version that removes an nftables table together with its
	// owner: NFT_TABLE_F_OWNER.
	OldestOwnerKernel = Kernel{5, 12}
)

// ParseKernel reads a release as uname(2) gives it: "5.15.0-91-generic".
func ParseKernel(release string) (Kernel, error) {
	major, rest, cut := strings.Cut(release, ".")

	var k Kernel
	var err error
	if k.Major, err = parseLeadingNumber(major); err == nil && cut {
		k.Minor, err = parseLeadingNumber(rest)
	}

	if err != nil || !cut {
		return Kernel{}, fmt.Errorf("%q is not a Linux kernel release", release)
	}
	return k, nil
}

// RunsShells reports whether the kernel has what a shell needs.
func (k Kernel) RunsShells() bool { return !k.isBefore(OldestShellKernel) }

// OwnsTables reports whether the kernel removes a dead manager's rules by itself.
func (k Kernel) OwnsTables() bool { return !k.isBefore(OldestOwnerKernel) }

func (k Kernel) isBefore(other Kernel) bool {
	return k.Major < other.Major || k.Major == other.Major && k.Minor < other.Minor
}
