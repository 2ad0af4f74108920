package netfilter

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

const chainPrefix = "KDIAG-"

func incomingChain(id string) string { return chainPrefix + id + "-IN" }
func outgoingChain(id string) string { return chainPrefix + id + "-OUT" }

// parseChainName returns the manager's id and the direction that one of our
// chains carries in its name. It reports false for a chain that is not ours.
func parseChainName(chain string) (id string, d Direction, ok bool) {
	rest, hasPrefix := strings.CutPrefix(chain, chainPrefix)
	id, suffix, hasSuffix := strings.Cut(rest, "-")
	switch {
	case !hasPrefix || !hasSuffix || !isValidID(id):
		return "", 0, false
	case suffix == "IN":
		return id, Incoming, true
	case suffix == "OUT":
		return id, Outgoing, true
	}

	return "", 0, false
}

// chainRule holds a line of iptables -S: a rule of a chain, or, without a spec,
// the chain itself.
type chainRule struct {
	chain string
	spec  []string
}

// parseRule parses a line of iptables -S. It reports false for a line that is
// neither a rule nor a chain.
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

// splitWords undoes how xtables_save_string writes words: one with special
// characters stands in double quotes, with a backslash before each quote and
// backslash of its own. It reports false for a quote that nothing closes.
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

// optionValue returns the word that follows an option, or "" without that option.
func (r chainRule) optionValue(name string) string {
	i := slices.Index(r.spec, name)
	if i < 0 || i+1 == len(r.spec) {
		return ""
	}
	return r.spec[i+1]
}

// parseRedirect reads back the redirect that one of our rules implements. It
// reports false for a rule that we did not write.
func (r chainRule) parseRedirect() (Redirect, bool) {
	_, direction, ours := parseChainName(r.chain)
	port, portErr := strconv.ParseUint(r.optionValue("--dport"), 10, 16)
	to := cmp.Or(r.optionValue("--to-ports"), strings.TrimPrefix(r.optionValue("--to-destination"), ":"))
	listener, listenerErr := strconv.ParseUint(to, 10, 16)
	if !ours || portErr != nil || listenerErr != nil {
		return Redirect{}, false
	}

	out := Redirect{
		Direction: direction,
		Port:      uint16(port),
		Listener:  uint16(listener),
		Holder:    sanitizeComment(r.optionValue("--comment")),
	}

	if address := r.optionValue("-d"); address != "" {
		prefix, err := netip.ParsePrefix(address)
		if err != nil || !prefix.IsSingleIP() {
			return Redirect{}, false
		}
		out.Address = prefix.Addr()
	}

	return out, true
}
