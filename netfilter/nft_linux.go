package netfilter

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/nftables"
)

const tablePrefix = "kdiag_"

// parseTableName returns the manager's id that one of our tables carries in its
// name. It reports false for a table that is not ours.
func parseTableName(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, tablePrefix)
	return id, ok && isValidID(id)
}

// nftBackend redirects with one nf_tables table. The table's rules never change;
// they look up the redirected ports in maps, where each redirect is an element.
// Deleting a rule could take conntrack away, which redirected connections need.
// Deleting an element cannot.
type nftBackend struct {
	*redirectLedger
	conn  nftConn
	table *nftables.Table
	maps  nftMaps
	// sources belongs to KeepSource.
	sources sourceMaps
	close   func() error
}

// openNFT creates the table. Kernels before 5.12 do not know owners of tables:
// there the table outlives a manager that is killed, until the next one sweeps it.
func openNFT(c Config, l *redirectLedger, flags uint32) (*nftBackend, error) {
	conn, err := dialNFT()
	if err != nil {
		return nil, err
	}

	b := &nftBackend{conn: conn, redirectLedger: l}
	b.table = &nftables.Table{Name: tablePrefix + c.ID, Family: nftables.TableFamilyINet}
	b.close = sync.OnceValue(b.closeOnce)
	if err := b.createTable(c, flags); err != nil {
		return nil, errors.Join(err, conn.CloseLasting())
	}

	return b, nil
}

// createTable creates the table with its rules, or nothing.
func (b *nftBackend) createTable(c Config, flags uint32) error {
	err := b.conn.createOwnTable(b.table, flags)
	if err != nil {
		return fmt.Errorf("table %s: %w", b.table.Name, err)
	}

	b.maps, err = addMapsAndRules(b.conn, b.table, c)
	if err == nil {
		b.sources, err = addSources(b.conn, b.table, c.Mark)
	}
	if err == nil {
		err = b.conn.flush()
	}
	if err == nil {
		if !c.LoopbackOnly {
			b.keepUDPUntracked()
		}
		return nil
	}

	b.conn.DelTable(b.table)
	return errors.Join(fmt.Errorf("rules of table %s: %w", b.table.Name, err), b.conn.flush())
}

// Name returns "nft".
func (*nftBackend) Name() string { return "nft" }

// Attach adds an element for the redirect to the map of its kind.
func (b *nftBackend) Attach(r Redirect) error {
	return b.addRedirect(r, b.addElement, b.deleteElement)
}

// Detach deletes the redirect's element.
func (b *nftBackend) Detach(r Redirect) error {
	return b.removeRedirect(r, b.deleteElement)
}

func (b *nftBackend) addElement(r Redirect) error {
	m, element := b.maps.elementOf(r)
	if err := b.conn.SetAddElements(m, []nftables.SetElement{element}); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	if err := b.conn.flush(); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	return nil
}

func (b *nftBackend) deleteElement(r Redirect) error {
	m, element := b.maps.elementOf(r)
	if err := b.conn.SetDeleteElements(m, []nftables.SetElement{{Key: element.Key}}); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	if err := b.conn.flush(); err != nil {
		return fmt.Errorf("map element: %w", err)
	}
	return nil
}

// Close deletes the table.
func (b *nftBackend) Close() error { return b.close() }

// closeOnce deletes the table rather than leave that to the kernel, which does it
// only for tables with an owner, and only some time after the socket was closed.
func (b *nftBackend) closeOnce() error {
	return b.closeWith(func() error {
		b.conn.DelTable(b.table)
		err := b.conn.flush()
		if err != nil {
			err = fmt.Errorf("delete table %s: %w", b.table.Name, err)
		}
		return errors.Join(err, b.conn.CloseLasting())
	})
}
