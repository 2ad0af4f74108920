package netfilter

import (
	"errors"
	"fmt"
)

// Open opens the back end of that name: "nft", "iptables", or "auto", which tries
// nft and then iptables, and fails with both reasons. The caller closes it.
//
// Open locks the id for this process, and fails while another process has it.
// The lock is an abstract UNIX socket in the network namespace, and goes with the
// process. It also shows which managers have died: Open sweeps what those left
// behind, which is chains of the iptables back end, and tables on kernels before
// 5.12. Later kernels remove the table together with the process, however that
// ends.
//
// nft needs Linux 5.6, for NAT in family inet and for concatenations. iptables
// needs the program. Of its variants, iptables-nft leaves no trace;
// iptables-legacy leaves the kernel's empty nat table in the namespace, and needs
// CAP_NET_RAW and a writable /run/xtables.lock (or XTABLES_LOCKFILE).
func Open(name string, c Config) (Backend, error) {
	b, err := openVariant(name, c, backendVariant{tableFlags: tableOwner})
	if err != nil {
		return nil, fmt.Errorf("netfilter: %w", err)
	}
	return b, nil
}

// backendVariant selects what only tests choose, so that they cover other
// machines than the one they run on.
type backendVariant struct {
	// tableFlags are the flags of the nft table. Without tableOwner, the back end
	// behaves as on kernels before 5.12.
	tableFlags uint32
	// iptables is "nft" or "legacy", or empty for the machine's preferred program.
	iptables string
}

func openVariant(name string, c Config, v backendVariant) (Backend, error) {
	if name != "auto" && name != "nft" && name != "iptables" {
		return nil, fmt.Errorf("unknown back end %q: want auto, nft or iptables", name)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}

	l, err := openLedger(c)
	if err != nil {
		return nil, err
	}

	b, err := openBackend(name, c, v, l)
	if err != nil {
		return nil, l.closeWith(func() error { return err })
	}

	return b, nil
}

// openLedger locks the id and sweeps what dead managers left, among them an
// earlier manager of the same id.
func openLedger(c Config) (*redirectLedger, error) {
	lock, err := lockID(c.ID)
	if err != nil {
		return nil, err
	}

	kernel, err := openKernelState()
	if err != nil {
		lock.release()
		return nil, err
	}

	l := &redirectLedger{
		id: c.ID, keepsAddress: c.LoopbackOnly, lock: lock, kernel: kernel, attached: map[redirectKey]Redirect{},
	}
	if err := kernel.sweepDeadManagers(c.ID); err != nil {
		return nil, l.closeWith(func() error { return fmt.Errorf("sweep: %w", err) })
	}

	return l, nil
}

func openBackend(name string, c Config, v backendVariant, l *redirectLedger) (Backend, error) {
	var nftErr, iptablesErr error
	if name != "iptables" {
		b, err := openNFT(c, l, v.tableFlags)
		if err == nil {
			return b, nil
		}
		nftErr = fmt.Errorf("nft: %w", err)
	}

	if name != "nft" {
		b, err := openIPTables(c, l, v.iptables)
		if err == nil {
			return b, nil
		}
		iptablesErr = fmt.Errorf("iptables: %w", err)
	}

	return nil, errors.Join(nftErr, iptablesErr)
}
