package footprint

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		name, v2, v1 string
		want         int64
	}{
		{name: "none"},
		{name: "v2", v2: "100663296\n", want: 96 << 20},
		{name: "v2 without a limit", v2: "max\n"},
		{name: "v2 unreadable", v2: "\n"},
		{name: "v1", v1: "cache 0\nhierarchical_memory_limit 100663296\nhierarchical_memsw_limit 5\n", want: 96 << 20},
		{name: "v1 without a limit", v1: "hierarchical_memory_limit 9223372036854771712\n"},
		{name: "v1 with large pages", v1: "hierarchical_memory_limit 9223372036854710272\n"},
		{name: "v1 without the line", v1: "cache 0\n"},
	} {
		directory := t.TempDir()
		v2, v1 := filepath.Join(directory, "v2"), filepath.Join(directory, "v1")
		for file, text := range map[string]string{v2: c.v2, v1: c.v1} {
			if text != "" {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}

		if got := readMemoryLimit(v2, v1); got != c.want {
			t.Errorf("%s: limit = %d, want %d", c.name, got, c.want)
		}
	}
}
