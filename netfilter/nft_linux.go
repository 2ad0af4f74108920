package netfilter

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
)

const tablePrefix = "kdiag_"

// nft is the back end over netlink: one table whose rules never change, and
// maps that say which ports are redirected. Deleting a rule could take conntrack
// with it, on which redirected connections live; deleting an element cannot.
type nft struct {
	conn  nftConn
	table *nftables.Table
	maps  nftMaps
	*ledger
	close func() error
}

// openNFT makes the table. Kernels before 5.12 know no owner of a table: then
// it outlives a manager that is killed, and the next one to open sweeps it.
func openNFT(c Config, l *ledger, flags uint32) (*nft, error) {
	conn, err := dialNFT()
	if err != nil {
		return nil, err
	}

	n := &nft{conn: conn, ledger: l}
	n.table = &nftables.Table{Name: tablePrefix + c.ID, Family: nftables.TableFamilyINet}
	n.close = sync.OnceValue(n.remove)
	if err := n.fill(c, flags); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}

	return n, nil
}

func (n *nft) fill(c Config, flags uint32) error {
	err := n.conn.newTable(n.table, flags)
	if flags != 0 && knowsNoOwner(err) {
		err = n.conn.newTable(n.table, 0)
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", n.table.Name, err)
	}

	n.maps, err = addRules(n.conn, n.table, c)
	if err == nil {
		err = n.conn.flush()
	}
	if err == nil {
		return nil
	}

	n.conn.DelTable(n.table)
	return errors.Join(fmt.Errorf("rules of table %s: %w", n.table.Name, err), n.conn.flush())
}

func (*nft) Name() string { return "nft" }

func (n *nft) Attach(r Redirect) error { return n.attach(r, n.add, n.delete) }

func (n *nft) Detach(r Redirect) error { return n.detach(r, n.delete) }

func (n *nft) add(r Redirect) error {
	m, element := n.maps.place(r)
	if err := n.conn.SetAddElements(m, []nftables.SetElement{element}); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	if err := n.conn.flush(); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	return nil
}

func (n *nft) delete(r Redirect) error {
	m, element := n.maps.place(r)
	if err := n.conn.SetDeleteElements(m, []nftables.SetElement{{Key: element.Key}}); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	if err := n.conn.flush(); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	return nil
}

func (n *nft) Close() error { return n.close() }

// remove deletes the table rather than leave that to the kernel, which does it
// when the socket is really closed, and only where the table has an owner.
func (n *nft) remove() error {
	return n.end(func() error {
		n.conn.DelTable(n.table)
		err := n.conn.flush()
		if err != nil {
			err = fmt.Errorf("delete table %s: %w", n.table.Name, err)
		}
		return errors.Join(err, n.conn.CloseLasting())
	})
}

// nftMaps are the maps of one manager's table.
type nftMaps struct{ incoming, outgoing, outgoing4, outgoing6 *nftables.Set }

func newMaps(t *nftables.Table) nftMaps {
	set := func(id uint32, name string, key nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{
			Table: t, ID: id, Name: name, IsMap: true,
			KeyType: key, DataType: nftables.TypeInetService, Concatenation: key.Bytes > 4,
		}
	}

	return nftMaps{
		incoming:  set(1, "incoming", nftables.TypeInetService),
		outgoing:  set(2, "outgoing", nftables.TypeInetService),
		outgoing4: set(3, "outgoing4", destination(nftables.TypeIPAddr)),
		outgoing6: set(4, "outgoing6", destination(nftables.TypeIP6Addr)),
	}
}

func (m nftMaps) all() []*nftables.Set {
	return []*nftables.Set{m.incoming, m.outgoing, m.outgoing4, m.outgoing6}
}

// destination is the type of an address and a port together.
func destination(address nftables.SetDatatype) nftables.SetDatatype {
	return nftables.MustConcatSetType(address, nftables.TypeInetService)
}

// place is the map of a redirect, and its element there.
func (m nftMaps) place(r Redirect) (*nftables.Set, nftables.SetElement) {
	element := nftables.SetElement{Key: portBytes(r.Port), Val: portBytes(r.Listener), Comment: r.Holder}
	switch address := r.Address.Unmap(); {
	case r.Direction == Incoming:
		return m.incoming, element
	case address.Is4():
		element.Key = destinationKey(address, r.Port)
		return m.outgoing4, element
	case address.Is6():
		element.Key = destinationKey(address, r.Port)
		return m.outgoing6, element
	}

	return m.outgoing, element
}
