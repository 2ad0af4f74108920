package netfilter

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// neighbours is what the managers of a namespace have put there, whichever back
// end they use: tables and chains that carry a manager's id in their names.
type neighbours struct {
	// nft is nil where the kernel has no nf_tables.
	nft   *nftConn
	tools []tool
}

func findNeighbours() (*neighbours, error) {
	n := &neighbours{tools: findTools()}
	conn, err := dialNFT()
	if err == nil {
		n.nft = &conn
		_, err = n.listTables(nftables.TableFamilyUnspecified)
	}

	if err == nil {
		return n, nil
	}

	err = errors.Join(err, n.close())
	if noNFTables(err) {
		return &neighbours{tools: n.tools}, nil
	}

	return nil, err
}

// noNFTables tells a kernel without nf_tables: there is no such netlink
// protocol, or nfnetlink knows no such subsystem (nfnetlink_rcv_msg).
func noNFTables(err error) bool {
	return errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

func (n *neighbours) close() error {
	if n.nft == nil {
		return nil
	}
	return n.nft.CloseLasting()
}

// claims are the redirects of all managers but one.
func (n *neighbours) claims(but string) ([]Redirect, error) {
	out, err := n.tableClaims(but)
	if err != nil {
		return nil, err
	}

	for _, t := range n.tools {
		rules, err := n.rules(t)
		if err != nil {
			return nil, err
		}

		for _, r := range rules {
			if id, _, ok := chainID(r.chain); !ok || id == but {
				continue
			}
			if claim, ok := r.claim(); ok {
				out = append(out, claim)
			}
		}
	}

	return out, nil
}

// sweep removes what dead managers left: one that was killed leaves chains, and
// on kernels before 5.12 a table. A manager is dead when nobody holds its id;
// own is the id that the caller holds, so that what has it is an earlier life's.
func (n *neighbours) sweep(own string) error {
	err := n.sweepTables(own)
	for _, t := range n.tools {
		rules, listErr := n.rules(t)
		for _, id := range ids(rules) {
			err = errors.Join(err, ifDead(id, own, func() error { return t.removeChains(id) }))
		}
		err = errors.Join(err, listErr)
	}
	return err
}

// ifDead holds the id meanwhile, so that no manager comes to life with it.
func ifDead(id, own string, remove func() error) error {
	if id == own {
		return remove()
	}

	claimed, err := claimID(id)
	if errors.Is(err, errAlive) {
		return nil
	}
	if err != nil {
		return err
	}
	defer claimed.release()

	return remove()
}

// ids are those of all chains of ours, each once.
func ids(rules []chainRule) []string {
	var out []string
	for _, r := range rules {
		if id, _, ok := chainID(r.chain); ok && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// tableID is the manager's id in a table's name.
func tableID(name string) (string, bool) {
	id, ok := strings.CutPrefix(name, tablePrefix)
	return id, ok && validID(id)
}
