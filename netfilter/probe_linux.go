package netfilter

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Probe asks the kernel what it can do for a manager of this id, in this network
// namespace: it makes an empty table and takes it away in the same batch, which
// nobody else ever sees. owner says that the kernel would take a table away with
// its manager (5.12). An error is why there is no nftables for this process.
func Probe(id string) (owner bool, err error) {
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
	if knowsNoOwner(err) {
		err = conn.tryTable(table, 0)
	}
	if err != nil {
		return false, fmt.Errorf("nft: %w", err)
	}

	return false, nil
}

// knowsNoOwner reports whether a kernel refused a table for its flag.
func knowsNoOwner(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL)
}
