package procfs

import "testing"

func TestParseSocketLink(t *testing.T) {
	for link, want := range map[string]uint64{"socket:[1]": 1, "socket:[18446744073709551615]": 18446744073709551615} {
		if got, ok := parseSocketLink(link); !ok || got != want {
			t.Errorf("parseSocketLink(%q) = %d, %v, want %d", link, got, ok, want)
		}
	}
	for _, link := range []string{"", "socket:[", "socket:[]", "socket:[x]", "socket:[1", "socket:[-1]", "pipe:[1]", "/socket:[1]"} {
		if got, ok := parseSocketLink(link); ok {
			t.Errorf("parseSocketLink(%q) = %d, want none", link, got)
		}
	}
}
