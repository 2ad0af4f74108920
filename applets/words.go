package applets

import (
	"fmt"
	"strings"
)

// JoinChoices joins words for a sentence, as in "auto, nft or iptables".
func JoinChoices(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// CountOf formats a count with its noun, as in "1 process" or "2 processes".
func CountOf(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
