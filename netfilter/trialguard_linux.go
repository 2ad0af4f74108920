package netfilter

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// guardPriority puts the guard behind everybody who may change a destination.
const guardPriority nftables.ChainPriority = 1000

// guardInfix stands between the manager's id and a port in the name of a guard's
// table, which parseTableName does not take for a table of redirects.
const guardInfix = "_trial_"

// parseGuardName returns the manager's id that the name of a guard's table carries.
func parseGuardName(name string) (id string, ok bool) {
	rest, hasPrefix := strings.CutPrefix(name, tablePrefix)
	id, _, hasInfix := strings.Cut(rest, guardInfix)
	return id, hasPrefix && hasInfix && isValidID(id)
}

var errNoNFTables = errors.New("the kernel has no nf_tables to guard a test connection with")

// guardTrials has the kernel refuse every packet of the trials that leads anywhere
// else than to their listener. The guard is a table of its own, so that it holds
// whatever became of the redirects, with either back end. It tells the trials by
// their sources alone, so that no other connection meets it, and needs no conntrack.
// Its owner is the connection that lists rules, so it ends with the process.
func (l *redirectLedger) guardTrials(trials []*Trial) (end func() error, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, errClosed
	case l.kernel.nft == nil:
		return nil, errNoNFTables
	}

	name := fmt.Sprintf("%s%s%s%d", tablePrefix, l.id, guardInfix, trials[0].Source.Port())
	table := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
	if err := l.kernel.nft.createOwnTable(table, tableOwner); err != nil {
		return nil, fmt.Errorf("guard test connections: table %s: %w", name, err)
	}

	if err := addGuardRules(*l.kernel.nft, table, trials); err != nil {
		return nil, errors.Join(fmt.Errorf("guard test connections: rules of table %s: %w", name, err), l.deleteTable(table))
	}

	return func() error { return l.endGuard(table) }, nil
}

// endGuard deletes a guard's table, unless it has gone with the back end.
func (l *redirectLedger) endGuard(table *nftables.Table) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return l.deleteTable(table)
}

// deleteTable deletes a table that the connection of l.kernel owns. l.mu is held.
func (l *redirectLedger) deleteTable(table *nftables.Table) error {
	l.kernel.nft.DelTable(table)
	return l.kernel.nft.flush()
}

// addGuardRules adds rules that answer with a reset, or, on a kernel that does not
// have that, with nothing.
func addGuardRules(conn nftConn, table *nftables.Table, trials []*Trial) error {
	answer := &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}
	addGuardChain(conn, table, trials, answer)
	err := conn.flush()
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}

	addGuardChain(conn, table, trials, &expr.Verdict{Kind: expr.VerdictDrop})
	return conn.flush()
}

func addGuardChain(conn nftConn, table *nftables.Table, trials []*Trial, refuse expr.Any) {
	accept := nftables.ChainPolicyAccept
	chain := conn.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput,
		Priority: nftables.ChainPriorityRef(guardPriority), Policy: &accept,
	})

	for _, t := range trials {
		for _, elsewhere := range []exprs{matchOtherAddress(t), matchOtherPort(t)} {
			rule := joinExprs(matchTrialSource(t), elsewhere, exprs{refuse})
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
		}
	}
}

// matchTrialSource matches the packets that a trial sends.
func matchTrialSource(t *Trial) exprs {
	family, offset, length := byte(unix.NFPROTO_IPV4), uint32(offsetSource4), uint32(lenAddress4)
	if t.Source.Addr().Is6() {
		family, offset, length = unix.NFPROTO_IPV6, offsetSource6, lenAddress6
	}

	return joinExprs(
		matchEqual(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: firstRegister}, []byte{family}),
		matchEqual(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstRegister}, []byte{unix.IPPROTO_TCP}),
		matchEqual(loadNetwork(offset, length), t.Source.Addr().AsSlice()),
		matchEqual(loadTransport(offsetSourcePort, lenPort, firstRegister), portBytes(t.Source.Port())),
	)
}

// matchOtherAddress matches packets to another address than where a redirected
// connection arrives.
func matchOtherAddress(t *Trial) exprs {
	offset, length := uint32(offsetAddress4), uint32(lenAddress4)
	if t.Source.Addr().Is6() {
		offset, length = offsetAddress6, lenAddress6
	}
	return matchOther(loadNetwork(offset, length), t.arrival.AsSlice())
}

// matchOtherPort matches packets to another port than the listener's.
func matchOtherPort(t *Trial) exprs {
	return matchOther(loadTransport(offsetPort, lenPort, firstRegister), portBytes(t.Listener))
}

func matchOther(load expr.Any, data []byte) exprs {
	return exprs{load, &expr.Cmp{Op: expr.CmpOpNeq, Register: firstRegister, Data: data}}
}
