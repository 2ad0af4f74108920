package netfilter

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/google/nftables"
)

// tool is one iptables program: of one family, and of one of the two variants
// that a kernel can have side by side.
type tool struct {
	*iptables.IPTables
	family nftables.TableFamily
	// variant is "nft" or "legacy".
	variant string
}

// lockTimeout bounds the wait for the xtables lock, in seconds.
const lockTimeout = 5

// findTools looks for the programs, the machine's preferred variant first.
func findTools() []tool {
	var out []tool
	for _, suffix := range []string{"", "-nft", "-legacy"} {
		out = appendTool(out, "iptables"+suffix, iptables.ProtocolIPv4, nftables.TableFamilyIPv4)
		out = appendTool(out, "ip6tables"+suffix, iptables.ProtocolIPv6, nftables.TableFamilyIPv6)
	}
	return out
}

func appendTool(to []tool, name string, protocol iptables.Protocol, family nftables.TableFamily) []tool {
	path, err := exec.LookPath(name)
	if err != nil {
		return to
	}

	t := tool{family: family, variant: variant(path)}
	if slices.ContainsFunc(to, func(o tool) bool { return o.family == t.family && o.variant == t.variant }) {
		return to
	}

	t.IPTables, err = iptables.New(iptables.Path(path), iptables.IPFamily(protocol), iptables.Timeout(lockTimeout))
	if err != nil {
		return to
	}

	return append(to, t)
}

// variant goes by the program that the name leads to: xtables-nft-multi, or
// xtables-legacy-multi (xtables-multi before 1.8).
func variant(path string) string {
	program, err := filepath.EvalSymlinks(path)
	if err == nil && strings.Contains(filepath.Base(program), "nft") || strings.HasSuffix(path, "-nft") {
		return "nft"
	}
	return "legacy"
}

func (t tool) String() string {
	if t.family == nftables.TableFamilyIPv6 {
		return "ip6tables-" + t.variant
	}
	return "iptables-" + t.variant
}

// hasNAT reports whether the nat table of the tool's family and variant is there.
func (n *neighbours) hasNAT(t tool) (bool, error) {
	if t.variant == "nft" {
		return n.hasTable(t.family, "nat")
	}
	return legacyOf(t.family).hasNAT()
}

// chainNames are the chains of the nat table, or none where there is no table.
// The program is not run for them: most namespaces have none of ours.
func (n *neighbours) chainNames(t tool) ([]string, error) {
	if t.variant == "nft" {
		return n.nftChains(func(c *nftables.Chain) bool { return c.Table.Family == t.family && c.Table.Name == "nat" })
	}
	return legacyOf(t.family).chains()
}

// rules are those of all chains of ours, and the chains themselves.
func (n *neighbours) rules(t tool) ([]chainRule, error) {
	names, err := n.chainNames(t)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, _, ours := chainID(name)
		return !ours
	})
	return t.rules(names...)
}

func (t tool) rules(chains ...string) ([]chainRule, error) {
	var out []chainRule
	for _, chain := range chains {
		lines, err := t.List("nat", chain)
		var failed *iptables.Error
		if errors.As(err, &failed) && failed.IsNotExist() {
			continue // its manager has ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("%s: list chain %s: %w", t, chain, err)
		}

		for _, line := range lines {
			if r, ok := parseRule(line); ok {
				out = append(out, r)
			}
		}
	}

	return out, nil
}

// removeChains takes away the chains of an id and the jumps to them.
func (t tool) removeChains(id string) error {
	rules, err := t.rules("PREROUTING", "OUTPUT")
	if err != nil {
		return err
	}

	for _, r := range rules {
		if target, _, ours := chainID(r.option("-j")); ours && target == id {
			err = errors.Join(err, t.Delete("nat", r.chain, r.spec...))
		}
	}

	for _, chain := range []string{chainIn(id), chainOut(id)} {
		err = errors.Join(err, t.ClearAndDeleteChain("nat", chain))
	}

	if err != nil {
		return fmt.Errorf("%s: remove chains of %s: %w", t, id, err)
	}

	return nil
}
