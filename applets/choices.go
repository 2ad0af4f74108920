package applets

import "strings"

// JoinChoices spells a choice: "auto, nft or iptables".
func JoinChoices(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
