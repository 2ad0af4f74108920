package netfilter

import (
	"errors"
	"fmt"
)

// Open returns the back end of that name: "nft", "iptables", or "auto", which is
// nft, else iptables; the error then has both reasons. The caller closes it.
//
// It first takes the id for this process, by an abstract UNIX socket in the
// network namespace that goes with the process, and fails while another has it.
// By the same socket it knows which managers are dead, and sweeps what they
// left: chains of the iptables back end, and tables of kernels before 5.12. On
// later ones the table goes with the process, however that ends.
//
// nft needs Linux 5.6 (NAT in family inet, and concatenations). iptables needs
// the program; iptables-nft leaves no trace, but iptables-legacy leaves the
// kernel's empty nat table in the namespace, and needs CAP_NET_RAW and a writable
// /run/xtables.lock (or XTABLES_LOCKFILE).
func Open(name string, c Config) (Backend, error) {
	b, err := openAs(name, c, options{tableFlags: tableOwner})
	if err != nil {
		return nil, fmt.Errorf("netfilter: %w", err)
	}
	return b, nil
}

// options are what only tests choose.
type options struct {
	tableFlags uint32
	// variant is "nft" or "legacy"; empty is what the machine prefers.
	variant string
}

func openAs(name string, c Config, o options) (Backend, error) {
	if name != "auto" && name != "nft" && name != "iptables" {
		return nil, fmt.Errorf("no back end %q: want auto, nft or iptables", name)
	}
	if err := c.check(); err != nil {
		return nil, err
	}

	l, err := openLedger(c.ID)
	if err != nil {
		return nil, err
	}

	b, err := openBackend(name, c, o, l)
	if err != nil {
		return nil, l.end(func() error { return err })
	}

	return b, nil
}

func openLedger(id string) (*ledger, error) {
	claimed, err := claimID(id)
	if err != nil {
		return nil, err
	}

	others, err := findNeighbours()
	if err != nil {
		claimed.release()
		return nil, err
	}

	l := &ledger{id: id, alive: claimed, others: others, entries: map[key]Redirect{}}
	if err := others.sweep(id); err != nil {
		return nil, l.end(func() error { return fmt.Errorf("sweep: %w", err) })
	}

	return l, nil
}

func openBackend(name string, c Config, o options, l *ledger) (Backend, error) {
	var nftErr, iptablesErr error
	if name != "iptables" {
		b, err := openNFT(c, l, o.tableFlags)
		if err == nil {
			return b, nil
		}
		nftErr = fmt.Errorf("nft: %w", err)
	}

	if name != "nft" {
		b, err := openIPTables(c, l, o.variant)
		if err == nil {
			return b, nil
		}
		iptablesErr = fmt.Errorf("iptables: %w", err)
	}

	return nil, errors.Join(nftErr, iptablesErr)
}
