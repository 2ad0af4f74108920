package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ipt is the back end over the iptables programs: two chains of its own in nat,
// jumped to before all others. A redirect is a rule there.
type ipt struct {
	tools []tool
	// made are the families whose nat table of nf_tables this back end made.
	made []nftables.TableFamily
	*ledger
	close func() error
}

// openIPTables makes the chains in each family whose program works; one is enough.
func openIPTables(c Config, l *ledger, variant string) (*ipt, error) {
	b := &ipt{ledger: l}
	b.close = sync.OnceValue(b.remove)
	if len(l.others.tools) == 0 {
		return nil, errors.New("no iptables program in PATH")
	}
	if variant == "" {
		variant = l.others.tools[0].variant
	}

	var failed error
	for _, t := range l.others.tools {
		if t.variant != variant {
			continue
		}
		if err := b.fill(t, c); err != nil {
			failed = errors.Join(failed, err)
		}
	}

	if len(b.tools) == 0 {
		return nil, errors.Join(fmt.Errorf("no family has a working iptables-%s", variant), failed, b.removeChains())
	}

	return b, nil
}

// fill makes the chains of one family, or leaves it as it was.
func (b *ipt) fill(t tool, c Config) error {
	there, err := b.others.hasNAT(t)
	if err != nil {
		return err
	}

	for _, command := range b.commands(t, c) {
		if err = command(); err != nil {
			break
		}
	}

	if !there && t.variant == "nft" {
		b.made = append(b.made, t.family)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", t, err), t.removeChains(c.ID))
	}

	b.tools = append(b.tools, t)
	return nil
}

// commands fill the chains before anything jumps to them.
func (b *ipt) commands(t tool, c Config) []func() error {
	in, out := chainIn(c.ID), chainOut(c.ID)
	list := []func() error{
		func() error { return t.NewChain("nat", in) },
		func() error { return t.NewChain("nat", out) },
		func() error { return t.Append("nat", out, t.anchor()...) },
	}
	for _, spare := range c.Spare {
		if t.has(spare.Addr()) {
			list = append(list, func() error { return t.Append("nat", out, sparing(spare)...) })
		}
	}

	for _, j := range jumps(c) {
		list = append(list, func() error { return t.Insert("nat", j.chain, 1, j.spec...) })
	}

	return list
}

func sparing(to netip.AddrPort) []string {
	return []string{"-d", to.Addr().Unmap().String(), "-p", "tcp", "--dport", decimal(to.Port()), "-j", "RETURN"}
}

// jumps lead to the chains, each put before all that is there.
func jumps(c Config) []chainRule {
	mark := strconv.FormatUint(uint64(c.Mark), 10)
	unmarked := []string{"-p", "tcp", "-m", "mark", "!", "--mark", mark, "-j"}
	out := []chainRule{
		{"OUTPUT", slices.Concat([]string{"!", "-o", "lo"}, unmarked, []string{chainOut(c.ID)})},
		{"OUTPUT", slices.Concat([]string{"-o", "lo"}, unmarked, []string{chainIn(c.ID)})},
	}
	if !c.LoopbackOnly {
		out = append(out, chainRule{"PREROUTING", []string{"!", "-i", "lo", "-p", "tcp", "-j", chainIn(c.ID)}})
	}
	return out
}

// anchor is a rule that matches nothing, for these are no sources. Its target
// needs conntrack, on which redirected connections live: it keeps it in the
// namespace when the last rule of a redirect has gone.
func (t tool) anchor() []string {
	nobody := "255.255.255.255/32"
	if t.family == nftables.TableFamilyIPv6 {
		nobody = "ff02::1/128"
	}
	return []string{"-s", nobody, "-p", "tcp", "-m", "comment", "--comment", "keeps conntrack", "-j", "REDIRECT"}
}

// has reports whether an address is of the tool's family.
func (t tool) has(address netip.Addr) bool {
	return address.Unmap().Is4() == (t.family == nftables.TableFamilyIPv4)
}

func decimal(port uint16) string { return strconv.Itoa(int(port)) }

func (*ipt) Name() string { return "iptables" }

func (b *ipt) Attach(r Redirect) error { return b.attach(r, b.add, b.delete) }

func (b *ipt) Detach(r Redirect) error { return b.detach(r, b.delete) }

// spec is the rule of a redirect, in the chain that it goes to.
func (b *ipt) spec(r Redirect) (chain string, spec []string) {
	chain = chainIn(b.id)
	if r.Direction == Outgoing {
		chain = chainOut(b.id)
	}
	if r.Address.IsValid() {
		spec = []string{"-d", r.Address.Unmap().String()}
	}

	spec = append(spec, "-p", "tcp", "-m", "tcp", "--dport", decimal(r.Port), "--syn")
	if r.Holder != "" {
		spec = append(spec, "-m", "comment", "--comment", r.Holder)
	}

	return chain, append(spec, "-j", "REDIRECT", "--to-ports", decimal(r.Listener))
}

// toolsFor are the tools that a redirect concerns.
func (b *ipt) toolsFor(r Redirect) []tool {
	var out []tool
	for _, t := range b.tools {
		if !r.Address.IsValid() || t.has(r.Address) {
			out = append(out, t)
		}
	}
	return out
}

// add puts the rule in each family, or in none.
func (b *ipt) add(r Redirect) error {
	tools := b.toolsFor(r)
	if len(tools) == 0 {
		return fmt.Errorf("no iptables program for the family of %s", r.Address)
	}

	chain, spec := b.spec(r)
	for _, t := range tools {
		if err := t.addRule(chain, spec, r.Address.IsValid()); err != nil {
			return errors.Join(err, b.delete(r))
		}
	}

	return nil
}

// addRule puts a rule with an address before the spare destinations, and one
// without after them.
func (t tool) addRule(chain string, spec []string, address bool) error {
	if address {
		return t.Insert("nat", chain, 1, spec...)
	}
	return t.Append("nat", chain, spec...)
}

func (b *ipt) delete(r Redirect) error {
	chain, spec := b.spec(r)
	var err error
	for _, t := range b.toolsFor(r) {
		err = errors.Join(err, t.DeleteIfExists("nat", chain, spec...))
	}
	return err
}

func (b *ipt) Close() error { return b.close() }

func (b *ipt) remove() error { return b.end(b.removeChains) }

func (b *ipt) removeChains() error {
	var err error
	for _, t := range b.tools {
		err = errors.Join(err, t.removeChains(b.id))
	}
	for _, family := range b.made {
		err = errors.Join(err, b.others.removeEmptyNAT(family))
	}
	return err
}

// removeEmptyNAT deletes the nat table that iptables-nft made for our chains,
// unless others have put something there meanwhile. NLM_F_NONREC lets the
// kernel refuse then, in the same instant.
func (n *neighbours) removeEmptyNAT(family nftables.TableFamily) error {
	names, err := n.nftChains(func(c *nftables.Chain) bool { return c.Table.Family == family && c.Table.Name == "nat" })
	if err != nil {
		return err
	}

	var batch []request
	for _, name := range names {
		batch = append(batch, deletion(unix.NFT_MSG_DELCHAIN, family, unix.NFTA_CHAIN_TABLE, "nat", unix.NFTA_CHAIN_NAME, name))
	}

	batch = append(batch, deletion(unix.NFT_MSG_DELTABLE, family, unix.NFTA_TABLE_NAME, "nat"))
	err = n.nft.send(batch...)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOENT) {
		return nil
	}

	return err
}

// deletion is of an object that nothing uses. The names come in pairs of
// attribute and value.
func deletion(operation uint16, family nftables.TableFamily, names ...any) request {
	r := request{operation: operation, flags: unix.NLM_F_NONREC, family: family}
	for i := 0; i < len(names); i += 2 {
		value := append([]byte(names[i+1].(string)), 0)
		r.attrs = append(r.attrs, netlink.Attribute{Type: uint16(names[i].(int)), Data: value})
	}
	return r
}
