package netfilter

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const chainPrefix = "KDIAG-"

func chainIn(id string) string  { return chainPrefix + id + "-IN" }
func chainOut(id string) string { return chainPrefix + id + "-OUT" }

// chainID is the manager's id in a chain's name, and what the chain is for.
func chainID(chain string) (id string, d Direction, ok bool) {
	rest, ours := strings.CutPrefix(chain, chainPrefix)
	id, suffix, cut := strings.Cut(rest, "-")
	switch {
	case !ours || !cut || !validID(id):
		return "", 0, false
	case suffix == "IN":
		return id, Incoming, true
	case suffix == "OUT":
		return id, Outgoing, true
	}

	return "", 0, false
}

// chainRule is a line of iptables -S: a rule of a chain, or with no spec the
// chain itself.
type chainRule struct {
	chain string
	spec  []string
}

// parseRule parses a line of iptables -S. It reports false for what is no rule
// and no chain.
func parseRule(line string) (chainRule, bool) {
	words, ok := splitWords(line)
	if !ok || len(words) < 2 || !slices.Contains([]string{"-A", "-N", "-P"}, words[0]) {
		return chainRule{}, false
	}
	if words[0] != "-A" {
		return chainRule{chain: words[1]}, true
	}
	return chainRule{words[1], words[2:]}, true
}

// splitWords splits a line as xtables_save_string joins one: a word in double
// quotes has a backslash before each quote and backslash that is its own.
func splitWords(line string) (words []string, ok bool) {
	var word strings.Builder
	var quoted, inWord bool
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			quoted, inWord = !quoted, true
		case c == ' ' && !quoted:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}

	if inWord {
		words = append(words, word.String())
	}

	return words, !quoted
}

// option is the word after the first that is this name, or empty.
func (r chainRule) option(name string) string {
	i := slices.Index(r.spec, name)
	if i < 0 || i+1 == len(r.spec) {
		return ""
	}
	return r.spec[i+1]
}

// claim is the redirect that the rule stands for, if it is one that we wrote.
func (r chainRule) claim() (Redirect, bool) {
	_, direction, ours := chainID(r.chain)
	port, portErr := strconv.ParseUint(r.option("--dport"), 10, 16)
	listener, listenerErr := strconv.ParseUint(r.option("--to-ports"), 10, 16)
	if !ours || portErr != nil || listenerErr != nil {
		return Redirect{}, false
	}

	out := Redirect{
		Direction: direction,
		Port:      uint16(port),
		Listener:  uint16(listener),
		Holder:    ruleComment(r.option("--comment")),
	}
	if to := r.option("-d"); to != "" {
		prefix, err := netip.ParsePrefix(to)
		if err != nil || !prefix.IsSingleIP() {
			return Redirect{}, false
		}
		out.Address = prefix.Addr()
	}

	return out, true
}
