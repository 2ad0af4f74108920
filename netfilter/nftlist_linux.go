package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
)

// tables are the tables that carry a manager's id.
func (n *neighbours) tables() ([]*nftables.Table, error) {
	all, err := n.listTables(nftables.TableFamilyINet)
	return slices.DeleteFunc(all, func(t *nftables.Table) bool {
		_, ours := tableID(t.Name)
		return !ours
	}), err
}

func (n *neighbours) listTables(family nftables.TableFamily) (tables []*nftables.Table, err error) {
	if n.nft == nil {
		return nil, nil
	}

	err = n.nft.within(func() error {
		tables, err = n.nft.ListTablesOfFamily(family)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}

	return tables, nil
}

func (n *neighbours) hasTable(family nftables.TableFamily, name string) (bool, error) {
	tables, err := n.listTables(family)
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), err
}

func (n *neighbours) tableClaims(but string) ([]Redirect, error) {
	tables, err := n.tables()
	if err != nil {
		return nil, err
	}

	var out []Redirect
	for _, t := range tables {
		if id, _ := tableID(t.Name); id == but {
			continue
		}
		claims, err := n.claimsOf(t)
		if err != nil {
			return nil, err
		}
		out = append(out, claims...)
	}

	return out, nil
}

// claimsOf reads the maps of a table. The table may go at any moment, which the
// library's error does not tell; then there are no claims.
func (n *neighbours) claimsOf(t *nftables.Table) ([]Redirect, error) {
	var out []Redirect
	maps := newMaps(t)
	for _, m := range maps.all() {
		elements, failed := n.elements(m)
		if failed != nil {
			there, err := n.hasTable(t.Family, t.Name)
			if there || err != nil {
				return nil, errors.Join(failed, err)
			}
			return nil, nil
		}

		for _, e := range elements {
			out = append(out, maps.claims(m, e)...)
		}
	}

	return out, nil
}

func (n *neighbours) elements(m *nftables.Set) (elements []nftables.SetElement, err error) {
	err = n.nft.within(func() error {
		elements, err = n.nft.GetSetElements(m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("map %s of table %s: %w", m.Name, m.Table.Name, err)
	}
	return elements, nil
}

// claims is place the other way round: one redirect, or none for an element
// that we did not write.
func (m nftMaps) claims(from *nftables.Set, e nftables.SetElement) []Redirect {
	if uint32(len(e.Key)) != from.KeyType.Bytes || len(e.Val) < 2 {
		return nil
	}

	r := Redirect{
		Direction: Outgoing,
		Listener:  binary.BigEndian.Uint16(e.Val),
		Holder:    ruleComment(e.Comment),
	}
	key := e.Key
	switch from {
	case m.incoming:
		r.Direction = Incoming
	case m.outgoing4, m.outgoing6:
		length := len(key) - 4
		r.Address, _ = netip.AddrFromSlice(key[:length])
		key = key[length:]
	}

	r.Port = binary.BigEndian.Uint16(key)
	return []Redirect{r}
}

// sweepTables removes tables of dead managers. One that has an owner is never
// a dead one's.
func (n *neighbours) sweepTables(own string) error {
	tables, err := n.tables()
	for _, t := range tables {
		if owned(t) {
			continue
		}

		id, _ := tableID(t.Name)
		err = errors.Join(err, ifDead(id, own, func() error {
			n.nft.DelTable(t)
			if err := n.nft.flush(); err != nil {
				return fmt.Errorf("stale table %s: %w", t.Name, err)
			}
			return nil
		}))
	}

	return err
}
