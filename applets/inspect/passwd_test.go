package inspect

import (
	"maps"
	"strings"
	"testing"
)

func TestParsePasswd(t *testing.T) {
	const text = "root:x:0:0:root:/root:/sbin/nologin\n\n# comment\nnonroot:x:65532:65532::/:\ntoor:x:0:0::/:\n:x:5:5::/:\nbad:x:y:0::/:\nbig:x:4294967296:0::/:\nshort:x:7\ncut:x:8:"
	want := map[int]string{0: "root", 65532: "nonroot", 8: "cut"}
	if got := parsePasswd([]byte(text)); !maps.Equal(got, want) {
		t.Errorf("parsePasswd(%q) = %v, want %v", text, got, want)
	}
}

func FuzzParsePasswd(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/sbin/nologin\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		for uid, name := range parsePasswd(content) {
			if uid < 0 || uid > 1<<32-1 || name == "" || strings.ContainsAny(name, ":\n") {
				t.Errorf("parsePasswd(%q) has %d: %q", content, uid, name)
			}
		}
	})
}
