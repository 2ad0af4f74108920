package netfilter

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// listManagerTables returns the tables of all managers.
func (k *kernelState) listManagerTables() ([]*nftables.Table, error) {
	tables, err := k.listTables(nftables.TableFamilyINet)
	return slices.DeleteFunc(tables, func(t *nftables.Table) bool {
		_, ours := parseTableName(t.Name)
		return !ours
	}), err
}

func (k *kernelState) listTables(family nftables.TableFamily) (tables []*nftables.Table, err error) {
	if k.nft == nil {
		return nil, nil
	}

	err = k.nft.withTimeout(func() error {
		tables, err = k.nft.ListTablesOfFamily(family)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}

	return tables, nil
}

func (k *kernelState) hasTable(family nftables.TableFamily, name string) (bool, error) {
	tables, err := k.listTables(family)
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), err
}

// listNFTRedirects returns the nft redirects of all managers except one.
func (k *kernelState) listNFTRedirects(exceptID string) ([]Redirect, error) {
	tables, err := k.listManagerTables()
	if err != nil {
		return nil, err
	}

	var redirects []Redirect
	for _, t := range tables {
		if id, _ := parseTableName(t.Name); id == exceptID {
			continue
		}

		inTable, err := k.readRedirects(t)
		if err != nil {
			return nil, err
		}

		redirects = append(redirects, inTable...)
	}

	return redirects, nil
}

// readRedirects reads the maps of a table. The table may vanish at any moment, and
// the library's error does not tell that from other failures. A table that has
// vanished has no redirects.
func (k *kernelState) readRedirects(t *nftables.Table) ([]Redirect, error) {
	var redirects []Redirect
	maps := newMaps(t)
	for _, m := range maps.all() {
		elements, failed := k.listElements(m)
		if failed != nil {
			exists, err := k.hasTable(t.Family, t.Name)
			if exists || err != nil {
				return nil, errors.Join(failed, err)
			}
			return nil, nil
		}

		for _, e := range elements {
			if r, ok := maps.redirectOf(m, e); ok {
				redirects = append(redirects, r)
			}
		}
	}

	return redirects, nil
}

func (k *kernelState) listElements(m *nftables.Set) (elements []nftables.SetElement, err error) {
	err = k.nft.withTimeout(func() error {
		elements, err = k.nft.GetSetElements(m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("map %s of table %s: %w", m.Name, m.Table.Name, err)
	}

	return elements, nil
}

// sweepDeadTables deletes the tables of dead managers, as sweepDeadManagers does.
// It skips tables with an owner, since the kernel deletes those with the manager.
func (k *kernelState) sweepDeadTables(ownID string) error {
	tables, err := k.listTables(nftables.TableFamilyINet)
	for _, t := range tables {
		id, ours := parseTableName(t.Name)
		if !ours {
			id, ours = parseGuardName(t.Name)
		}
		if !ours || hasOwner(t) {
			continue
		}

		err = errors.Join(err, withDeadID(id, ownID, func() error {
			k.nft.DelTable(t)
			if err := k.nft.flush(); err != nil {
				return fmt.Errorf("stale table %s: %w", t.Name, err)
			}
			return nil
		}))
	}

	return err
}
