package wire

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePrograms(t *testing.T) {
	sum := strings.Repeat("0f", 32)
	want := []Program{{"strace", 1, sum}, {"py-spy_2.0+x", MaxProgramSize - 1, sum}}
	if got, err := ParsePrograms([]string{want[0].String(), want[1].String()}); err != nil || !slices.Equal(got, want) {
		t.Errorf("ParsePrograms = %v, %v, want %v", got, err, want)
	}
	if got, err := ParsePrograms(nil); err != nil || len(got) != 0 {
		t.Errorf("ParsePrograms of nothing = %v, %v", got, err)
	}

	for _, bad := range []string{
		"", "strace", "strace:1", "strace:1:", "strace:0:" + sum, "strace:-1:" + sum, "strace:1073741825:" + sum, "strace:x:" + sum,
		"a/b:1:" + sum, ".:1:" + sum, "-c:1:" + sum, " :1:" + sum, "a b:1:" + sum, strings.Repeat("a", 65) + ":1:" + sum,
		"strace:1:" + sum[1:], "strace:1:" + strings.ToUpper(sum), "strace:1:" + sum + ":",
	} {
		if got, err := ParsePrograms([]string{bad}); err == nil {
			t.Errorf("ParsePrograms(%q) = %v, want an error", bad, got)
		}
	}
	for name, list := range map[string][]string{
		"too many":  slices.Repeat([]string{"a:1:" + sum}, MaxPrograms+1),
		"twice":     {"a:1:" + sum, "a:2:" + sum},
		"too large": {want[1].String(), "a:2:" + sum},
	} {
		if got, err := ParsePrograms(list); err == nil {
			t.Errorf("%s: ParsePrograms = %v, want an error", name, got)
		}
	}
}
