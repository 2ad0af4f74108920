package netfilter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// kernelState reads what this and other managers have put into the network
// namespace, with either back end, and removes what dead ones left. It recognizes
// their tables and chains by the ids in the names.
type kernelState struct {
	// nft is nil on a kernel without nf_tables.
	nft   *nftConn
	tools []iptablesTool
}

func openKernelState() (*kernelState, error) {
	k := &kernelState{tools: findIPTablesTools()}
	conn, err := dialNFT()
	if err == nil {
		// Only the first request shows whether the kernel has nf_tables.
		k.nft = &conn
		_, err = k.listTables(nftables.TableFamilyUnspecified)
	}
	if err == nil {
		return k, nil
	}

	err = errors.Join(err, k.close())
	if meansNoNFTables(err) {
		return &kernelState{tools: k.tools}, nil
	}

	return nil, err
}

// meansNoNFTables reports whether a kernel without nf_tables answers so: either it
// does not have that netlink protocol, or nfnetlink does not know the subsystem
// (nfnetlink_rcv_msg).
func meansNoNFTables(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

func (k *kernelState) close() error {
	if k.nft == nil {
		return nil
	}
	return k.nft.CloseLasting()
}

// listRedirects returns the redirects of all managers except one.
func (k *kernelState) listRedirects(exceptID string) ([]Redirect, error) {
	redirects, err := k.listNFTRedirects(exceptID)
	if err != nil {
		return nil, err
	}

	for _, t := range k.tools {
		rules, err := k.listRules(t)
		if err != nil {
			return nil, err
		}

		for _, rule := range rules {
			if id, _, ours := parseChainName(rule.chain); !ours || id == exceptID {
				continue
			}
			if r, ok := rule.parseRedirect(); ok {
				redirects = append(redirects, r)
			}
		}
	}

	return redirects, nil
}

// sweepDeadManagers removes what killed managers left: chains, and on kernels
// before 5.12 a table. A manager is dead if nobody has the lock of its id. The
// caller's ownID counts as dead: what carries it is from an earlier manager.
func (k *kernelState) sweepDeadManagers(ownID string) error {
	err := k.sweepDeadTables(ownID)
	for _, t := range k.tools {
		rules, listErr := k.listRules(t)
		for _, id := range managerIDs(rules) {
			err = errors.Join(err, withDeadID(id, ownID, func() error { return t.removeChains(id) }))
		}
		err = errors.Join(err, listErr)
	}
	return err
}

// managerIDs returns the ids of the managers that the rules belong to.
func managerIDs(rules []chainRule) []string {
	var ids []string
	for _, r := range rules {
		if id, _, ours := parseChainName(r.chain); ours && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// hasNAT reports whether the nat table of a program's family and variant exists.
func (k *kernelState) hasNAT(t iptablesTool) (bool, error) {
	if t.variant == "nft" {
		return k.hasTable(t.family, "nat")
	}
	return legacyNATOf(t.family).exists()
}

// listRules returns our chains in a program's nat table and their rules. It runs
// the program only for chains that exist, because most namespaces have none.
func (k *kernelState) listRules(t iptablesTool) ([]chainRule, error) {
	names, err := k.listNATChains(t)
	if err != nil {
		return nil, err
	}

	names = slices.DeleteFunc(names, func(name string) bool {
		_, _, ours := parseChainName(name)
		return !ours
	})

	return t.listRules(names...)
}

// listNATChains returns the names of the chains in a program's nat table.
func (k *kernelState) listNATChains(t iptablesTool) ([]string, error) {
	if t.variant == "nft" {
		return k.listNFTChains(inNATTable(t.family))
	}
	return legacyNATOf(t.family).listChains()
}

// listChains returns the names of all chains in the namespace, with an error for
// what it could not read.
func (k *kernelState) listChains() ([]string, error) {
	names, failed := k.listNFTChains(func(*nftables.Chain) bool { return true })
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		legacy, err := legacyNATOf(family).listChains()
		failed = errors.Join(failed, err)
		names = append(names, legacy...)
	}
	return names, failed
}

// listNFTChains returns the names of the nf_tables chains that a filter selects.
func (k *kernelState) listNFTChains(selects func(*nftables.Chain) bool) ([]string, error) {
	if k.nft == nil {
		return nil, nil
	}

	var chains []*nftables.Chain
	err := k.nft.withTimeout(func() (err error) {
		chains, err = k.nft.ListChains()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}

	var names []string
	for _, c := range chains {
		if selects(c) {
			names = append(names, c.Name)
		}
	}

	return names, nil
}

// inNATTable selects the chains of a family's nat table.
func inNATTable(family nftables.TableFamily) func(*nftables.Chain) bool {
	return func(c *nftables.Chain) bool { return c.Table.Family == family && c.Table.Name == "nat" }
}
