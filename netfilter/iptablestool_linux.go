package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/nftables"
)

// iptablesTool runs one iptables program. It is for one family, and is one of the
// two variants that a machine can have side by side.
type iptablesTool struct {
	*iptables.IPTables
	family nftables.TableFamily
	// variant is "nft" or "legacy".
	variant string
}

// lockTimeout limits the wait for the xtables lock, in seconds.
const lockTimeout = 5

// findIPTablesTools looks for the programs, the machine's preferred variant first.
func findIPTablesTools() []iptablesTool {
	var tools []iptablesTool
	for _, suffix := range []string{"", "-nft", "-legacy"} {
		tools = appendTool(tools, "iptables"+suffix, iptables.ProtocolIPv4, nftables.TableFamilyIPv4)
		tools = appendTool(tools, "ip6tables"+suffix, iptables.ProtocolIPv6, nftables.TableFamilyIPv6)
	}
	return tools
}

// appendTool appends a program if it is in PATH and its family and variant are not
// in the list yet.
func appendTool(tools []iptablesTool, name string, protocol iptables.Protocol, family nftables.TableFamily) []iptablesTool {
	path, err := exec.LookPath(name)
	if err != nil {
		return tools
	}

	t := iptablesTool{family: family, variant: iptablesVariant(path)}
	if slices.ContainsFunc(tools, func(o iptablesTool) bool { return o.family == t.family && o.variant == t.variant }) {
		return tools
	}

	t.IPTables, err = iptables.New(iptables.Path(path), iptables.IPFamily(protocol), iptables.Timeout(lockTimeout))
	if err != nil {
		return tools
	}

	return append(tools, t)
}

// iptablesVariant tells the variant from the program that the path leads to:
// xtables-nft-multi, or xtables-legacy-multi (xtables-multi before 1.8).
func iptablesVariant(path string) string {
	program, err := filepath.EvalSymlinks(path)
	if err == nil && strings.Contains(filepath.Base(program), "nft") || strings.HasSuffix(path, "-nft") {
		return "nft"
	}
	return "legacy"
}

// String returns the program's name.
func (t iptablesTool) String() string {
	if t.family == nftables.TableFamilyIPv6 {
		return "ip6tables-" + t.variant
	}
	return "iptables-" + t.variant
}

func (t iptablesTool) hasFamilyOf(address netip.Addr) bool {
	return address.Unmap().Is4() == (t.family == nftables.TableFamilyIPv4)
}

// listRules lists chains of the nat table. A chain that does not exist has no
// rules: its manager has ended since its name was read.
func (t iptablesTool) listRules(chains ...string) ([]chainRule, error) {
	var rules []chainRule
	for _, chain := range chains {
		lines, err := t.List("nat", chain)
		var failed *iptables.Error
		if errors.As(err, &failed) && failed.IsNotExist() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: list chain %s: %w", t, chain, err)
		}

		for _, line := range lines {
			if r, ok := parseRule(line); ok {
				rules = append(rules, r)
			}
		}
	}

	return rules, nil
}

// removeChains removes the chains of an id and the jumps to them.
func (t iptablesTool) removeChains(id string) error {
	rules, err := t.listRules("PREROUTING", "OUTPUT")
	if err != nil {
		return err
	}

	// The kernel keeps a chain that something jumps to, so the jumps go first.
	for _, r := range rules {
		if target, _, ours := parseChainName(r.optionValue("-j")); ours && target == id {
			err = errors.Join(err, t.Delete("nat", r.chain, r.spec...))
		}
	}

	for _, chain := range []string{incomingChain(id), outgoingChain(id)} {
		err = errors.Join(err, t.ClearAndDeleteChain("nat", chain))
	}

	if err != nil {
		return fmt.Errorf("%s: remove chains of %s: %w", t, id, err)
	}

	return nil
}
