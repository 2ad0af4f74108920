package netfilter

import (
	"fmt"

	"github.com/google/nftables"
)

// ProbeNFT asks the kernel whether a manager of this id can use nftables in this
// network namespace. It creates an empty table and deletes it in the same batch,
// so that nobody ever sees it. hasOwner reports whether the kernel would delete a
// table together with its manager (5.12). An error says why there is no nftables
// for this process.
func ProbeNFT(id string) (hasOwner bool, err error) {
	conn, err := dialNFT()
	if err != nil {
		return false, err
	}
	defer conn.CloseLasting() //nolint:errcheck // nothing is left on it

	table := &nftables.Table{Name: tablePrefix + id, Family: nftables.TableFamilyINet}
	err = conn.tryTable(table, tableOwner)
	if err == nil {
		return true, nil
	}

	if meansNoTableOwners(err) {
		err = conn.tryTable(table, 0)
	}
	if err != nil {
		return false, fmt.Errorf("nft: %w", err)
	}

	return false, nil
}
