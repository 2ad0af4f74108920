package netfilter

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"kdiag/netfilter/netnstest"

	"golang.org/x/sys/unix"
)

// TestProbe checks the answer against the kernel's version, and that the probe
// leaves nothing behind.
func TestProbe(t *testing.T) {
	ns := netnstest.New(t)
	before := ns.Run(t, "nft", "-j", "list", "ruleset")
	var owner bool
	err := ns.Do(func() (err error) {
		owner, err = ProbeNFT("0a1b2c3d")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	release, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Fatal(err)
	}

	// Kernels before 5.12 do not know owners of tables.
	old := strings.HasPrefix(string(release), "4.")
	for minor := range strings.SplitSeq("0 1 2 3 4 5 6 7 8 9 10 11", " ") {
		old = old || strings.HasPrefix(string(release), "5."+minor+".")
	}

	if owner == old {
		t.Errorf("Probe on Linux %s: owner = %t, want %t", release, owner, !old)
	}
	if after := ns.Run(t, "nft", "-j", "list", "ruleset"); after != before {
		t.Errorf("the ruleset changed from %s to %s", before, after)
	}
}

// TestProbeDenied probes without NET_ADMIN.
func TestProbeDenied(t *testing.T) {
	ns := netnstest.New(t)
	err := ns.Do(func() error {
		none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var old, sets [2]unix.CapUserData
		if err := unix.Capget(&none, &old[0]); err != nil {
			return err
		}

		sets = old
		sets[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&none, &sets[0]); err != nil {
			return err
		}

		_, err := ProbeNFT("0a1b2c3d")
		return errors.Join(wantPermissionError(err), unix.Capset(&none, &old[0]))
	})
	if err != nil {
		t.Error(err)
	}
}

// wantPermissionError returns an error unless err says that the kernel refused for
// want of a right.
func wantPermissionError(err error) error {
	if errors.Is(err, unix.EPERM) {
		return nil
	}
	return errors.Join(errors.New("probe without NET_ADMIN: want a permission error"), err)
}
