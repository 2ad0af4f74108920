package netfilter

import (
	"bytes"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// keepUDPUntracked adds chains to the table that keep the namespace's UDP out of conntrack, which the
// table's NAT turns on for everything. No redirect needs UDP tracked, and a name server with 10,000
// queries a second would fill the node's table with them. TCP and ICMP stay tracked: a redirect needs
// both directions of its connections, and the errors about them.
//
// It does nothing if others may need conntrack in the namespace, or if the kernel cannot do it: UDP is
// tracked then, as it is with other programs' NAT.
func (b *nftBackend) keepUDPUntracked() {
	if b.othersMayTrack() {
		return
	}

	udp := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}
	rule := joinExprs(matchEqual(udp, []byte{unix.IPPROTO_UDP}), exprs{&expr.Notrack{}})
	accept := nftables.ChainPolicyAccept
	for name, hook := range map[string]*nftables.ChainHook{
		"untracked_prerouting": nftables.ChainHookPrerouting, "untracked_output": nftables.ChainHookOutput,
	} {
		chain := b.conn.AddChain(&nftables.Chain{
			Name: name, Table: b.table, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityRaw, Policy: &accept,
		})
		b.conn.AddRule(&nftables.Rule{Table: b.table, Chain: chain, Exprs: rule})
	}
	_ = b.conn.flush()
}

// othersMayTrack reports whether there are rules of other programs in the namespace, or whether that
// is not known. Any of them may need conntrack.
func (b *nftBackend) othersMayTrack() bool {
	var tables []*nftables.Table
	err := b.conn.withTimeout(func() (err error) {
		tables, err = b.conn.ListTables()
		return err
	})
	if err != nil || slices.ContainsFunc(tables, isStrange) {
		return true
	}

	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		names, _ := os.ReadFile(legacyNATOf(family).tableNames)
		if len(bytes.Fields(names)) > 0 {
			return true
		}
	}
	return false
}

// isStrange reports whether a table is no manager's.
func isStrange(t *nftables.Table) bool {
	_, manager := parseTableName(t.Name)
	_, guard := parseGuardName(t.Name)
	return !manager && !guard
}
