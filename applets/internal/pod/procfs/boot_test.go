package procfs

import (
	"strings"
	"testing"
)

func TestParseBootTime(t *testing.T) {
	const text = "cpu  1 2 3\nintr 5 0 0\nctxt 7\nbtime 1700000000\nprocesses 9\n"
	if got, err := parseBootTime(strings.NewReader(text)); err != nil || got.Unix() != 1700000000 {
		t.Errorf("parseBootTime(%q) = %v, %v, want 1700000000", text, got, err)
	}
	for _, bad := range []string{"", "cpu 1\n", "btime x\n", "btime -1\n", "btime 99999999999999\n", strings.Repeat("x", 2<<20) + "\nbtime 1\n"} {
		if got, err := parseBootTime(strings.NewReader(bad)); err == nil || !got.IsZero() {
			t.Errorf("parseBootTime(%.50q) = %v, %v, want an error", bad, got, err)
		}
	}
}

func FuzzParseBootTime(f *testing.F) {
	f.Add("cpu 1\nbtime 1700000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := parseBootTime(strings.NewReader(text)); err != nil && !got.IsZero() {
			t.Errorf("parseBootTime(%q) = %v with %v", text, got, err)
		}
	})
}
