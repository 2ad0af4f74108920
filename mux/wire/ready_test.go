package wire

import (
	"strings"
	"testing"
)

func TestReady(t *testing.T) {
	want := Ready{Role: RoleNet, Version: "v1", PID: 1, Protocol: 2, Port: 7, OlderPort: 8, Key: "k", Nftables: NftOwner}
	var line strings.Builder
	if err := want.Print(&line); err != nil {
		t.Fatal(err)
	}

	const text = `{"role":"net","version":"v1","pid":1,"protocol":2,"door":7,"port":8,"key":"k","nftables":"owner"}` + "\n"
	if line.String() != text {
		t.Errorf("Print wrote %q, want %q", line.String(), text)
	}
	if got, err := ParseReady([]byte(line.String())); err != nil || got != want || !got.Serves() {
		t.Errorf("ParseReady(%q) = %+v, %v, want %+v", line.String(), got, err, want)
	}

	for _, bad := range []string{"", "{", "{}", "null", `{"role":7}`, `{"msg":"listening"}`, `[]`} {
		if got, err := ParseReady([]byte(bad)); err == nil || got != (Ready{}) {
			t.Errorf("ParseReady(%q) = %+v, %v, want an error", bad, got, err)
		}
	}
}
