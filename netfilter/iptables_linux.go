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

// iptablesBackend redirects with the iptables programs. It has two chains of its
// own in the nat table, one for each direction, which the kernel visits before all
// others. Each redirect is a rule in one of them.
type iptablesBackend struct {
	*redirectLedger
	tools []iptablesTool
	// createdNAT lists the families whose nat table came with our chains. It is
	// for iptables-nft only, whose tables Close can remove.
	createdNAT []nftables.TableFamily
	close      func() error
}

// openIPTables creates the chains in each family whose program works. One family
// is enough.
func openIPTables(c Config, l *redirectLedger, variant string) (*iptablesBackend, error) {
	b := &iptablesBackend{redirectLedger: l}
	b.close = sync.OnceValue(b.closeOnce)
	if len(l.kernel.tools) == 0 {
		return nil, errors.New("no iptables program in PATH")
	}
	if variant == "" {
		variant = l.kernel.tools[0].variant
	}

	var failed error
	for _, t := range l.kernel.tools {
		if t.variant != variant {
			continue
		}
		if err := b.createChains(t, c); err != nil {
			failed = errors.Join(failed, err)
		}
	}

	if len(b.tools) == 0 {
		err := fmt.Errorf("iptables-%s works for neither IPv4 nor IPv6", variant)
		return nil, errors.Join(err, failed, b.removeChains())
	}

	return b, nil
}

// createChains creates the chains of one family, or leaves the family as it was.
func (b *iptablesBackend) createChains(t iptablesTool, c Config) error {
	hadNAT, err := b.kernel.hasNAT(t)
	if err != nil {
		return err
	}

	for _, command := range chainCommands(t, c) {
		if err = command(); err != nil {
			break
		}
	}

	// Even the first command may have made the table and then failed.
	if !hadNAT && t.variant == "nft" {
		b.createdNAT = append(b.createdNAT, t.family)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", t, err), t.removeChains(c.ID))
	}

	b.tools = append(b.tools, t)
	return nil
}

// chainCommands returns the commands that create the chains. The jumps come last,
// so that no packet sees half a chain.
func chainCommands(t iptablesTool, c Config) []func() error {
	in, out := incomingChain(c.ID), outgoingChain(c.ID)
	commands := []func() error{
		func() error { return t.NewChain("nat", in) },
		func() error { return t.NewChain("nat", out) },
		func() error { return t.Append("nat", out, conntrackAnchor(t.family)...) },
	}

	for _, destination := range c.Exclude {
		if t.hasFamilyOf(destination.Addr()) {
			commands = append(commands, func() error { return t.Append("nat", out, exclusionSpec(destination)...) })
		}
	}

	for _, jump := range jumpRules(c) {
		commands = append(commands, func() error { return t.Insert("nat", jump.chain, 1, jump.spec...) })
	}

	return commands
}

func exclusionSpec(to netip.AddrPort) []string {
	return []string{"-d", to.Addr().Unmap().String(), "-p", "tcp", "--dport", formatPort(to.Port()), "-j", "RETURN"}
}

// jumpRules returns the rules that lead to our chains.
func jumpRules(c Config) []chainRule {
	mark := strconv.FormatUint(uint64(c.Mark), 10)
	unmarked := []string{"-p", "tcp", "-m", "mark", "!", "--mark", mark, "-j"}
	rules := []chainRule{
		{"OUTPUT", slices.Concat([]string{"!", "-o", "lo"}, unmarked, []string{outgoingChain(c.ID)})},
		{"OUTPUT", slices.Concat([]string{"-o", "lo"}, unmarked, []string{incomingChain(c.ID)})},
	}
	if !c.LoopbackOnly {
		rules = append(rules, chainRule{"PREROUTING", []string{"!", "-i", "lo", "-p", "tcp", "-j", incomingChain(c.ID)}})
	}
	return rules
}

// conntrackAnchor returns a rule that matches no packet, because nothing has such
// a source address. Its target keeps conntrack in the namespace, which redirected
// connections need even after the rule of their redirect has gone.
func conntrackAnchor(family nftables.TableFamily) []string {
	nobody := "255.255.255.255/32"
	if family == nftables.TableFamilyIPv6 {
		nobody = "ff02::1/128"
	}
	return []string{"-s", nobody, "-p", "tcp", "-m", "comment", "--comment", "keeps conntrack", "-j", "REDIRECT"}
}

func formatPort(port uint16) string { return strconv.Itoa(int(port)) }

// Name returns "iptables".
func (*iptablesBackend) Name() string { return "iptables" }

// Attach adds a rule for the redirect to our chain of its direction.
func (b *iptablesBackend) Attach(r Redirect) error {
	return b.addRedirect(r, b.addRules, b.deleteRules)
}

// Detach deletes the redirect's rule.
func (b *iptablesBackend) Detach(r Redirect) error {
	return b.removeRedirect(r, b.deleteRules)
}

// redirectSpec returns a redirect's rule and the chain that it belongs to.
func (b *iptablesBackend) redirectSpec(r Redirect) (chain string, spec []string) {
	chain = incomingChain(b.id)
	if r.Direction == Outgoing {
		chain = outgoingChain(b.id)
	}
	if r.Address.IsValid() {
		spec = []string{"-d", r.Address.Unmap().String()}
	}

	spec = append(spec, "-p", "tcp", "-m", "tcp", "--dport", formatPort(r.Port), "--syn")
	if r.Holder != "" {
		spec = append(spec, "-m", "comment", "--comment", r.Holder)
	}

	if r.Direction == Incoming && b.keepsAddress {
		return chain, append(spec, "-j", "DNAT", "--to-destination", ":"+formatPort(r.Listener))
	}

	return chain, append(spec, "-j", "REDIRECT", "--to-ports", formatPort(r.Listener))
}

// toolsFor returns the program of the address's family, or those of both families
// for a redirect without an address.
func (b *iptablesBackend) toolsFor(r Redirect) []iptablesTool {
	var out []iptablesTool
	for _, t := range b.tools {
		if !r.Address.IsValid() || t.hasFamilyOf(r.Address) {
			out = append(out, t)
		}
	}
	return out
}

// addRules adds the redirect's rule to each of its families, or to none.
func (b *iptablesBackend) addRules(r Redirect) error {
	tools := b.toolsFor(r)
	if len(tools) == 0 {
		return fmt.Errorf("no iptables program for the family of %s", r.Address)
	}

	chain, spec := b.redirectSpec(r)
	for _, t := range tools {
		if err := t.addRule(chain, spec, r.Address.IsValid()); err != nil {
			return errors.Join(err, b.deleteRules(r))
		}
	}

	return nil
}

// addRule puts a rule with an address before the excluded destinations, so that
// it overrides them, and one without an address after them.
func (t iptablesTool) addRule(chain string, spec []string, hasAddress bool) error {
	if hasAddress {
		return t.Insert("nat", chain, 1, spec...)
	}
	return t.Append("nat", chain, spec...)
}

func (b *iptablesBackend) deleteRules(r Redirect) error {
	chain, spec := b.redirectSpec(r)
	var err error
	for _, t := range b.toolsFor(r) {
		err = errors.Join(err, t.DeleteIfExists("nat", chain, spec...))
	}
	return err
}

// Close removes the chains, and the nat tables that came with them.
func (b *iptablesBackend) Close() error { return b.close() }

func (b *iptablesBackend) closeOnce() error { return b.closeWith(b.removeChains) }

func (b *iptablesBackend) removeChains() error {
	var err error
	for _, t := range b.tools {
		err = errors.Join(err, t.removeChains(b.id))
	}
	for _, family := range b.createdNAT {
		err = errors.Join(err, b.kernel.removeEmptyNAT(family))
	}
	return err
}

// removeEmptyNAT deletes the nat table that iptables-nft made for our chains,
// unless others have put something there meanwhile. NLM_F_NONREC has the kernel
// check that in the same instant: it refuses to delete a table with anything in it.
func (k *kernelState) removeEmptyNAT(family nftables.TableFamily) error {
	names, err := k.listNFTChains(inNATTable(family))
	if err != nil {
		return err
	}

	var batch []nftRequest
	for _, name := range names {
		batch = append(batch, deleteUnused(unix.NFT_MSG_DELCHAIN, family,
			nameAttribute(unix.NFTA_CHAIN_TABLE, "nat"), nameAttribute(unix.NFTA_CHAIN_NAME, name)))
	}

	batch = append(batch, deleteUnused(unix.NFT_MSG_DELTABLE, family, nameAttribute(unix.NFTA_TABLE_NAME, "nat")))
	err = k.nft.sendBatch(batch...)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOENT) {
		return nil
	}

	return err
}

// deleteUnused requests that a chain or table be deleted if nothing uses it.
func deleteUnused(operation uint16, family nftables.TableFamily, names ...netlink.Attribute) nftRequest {
	return nftRequest{operation: operation, flags: unix.NLM_F_NONREC, family: family, attrs: names}
}
