package procfs

import (
	"slices"
	"strings"
	"testing"
)

const unixHeading = "Num       RefCount Protocol Flags    Type St Inode Path\n"

const unixText = unixHeading +
	"00000000c0ffee00: 00000002 00000000 00010000 0001 01  8901 /run/my app.sock\n" +
	"00000000c0ffee01: 00000003 00000000 00000000 0001 03 11234\n" +
	"00000000c0ffee02: 00000002 00000000 00010000 0005 01 11235 @name\x1b[2J\n" +
	"00000000c0ffee03: 00000002 00000000 00010000 0001 01 11236 /a\n" +
	"of two lines\n"

func TestScanUnixSockets(t *testing.T) {
	want := []UnixSocket{{true, 8901, "/run/my app.sock"}, {false, 11234, ""}, {true, 11235, "@name\x1b[2J"}, {true, 11236, "/a"}}
	if got, err := collectUnixSockets(unixText); err != nil || !slices.Equal(got, want) {
		t.Errorf("scanUnixSockets(%q) = %v, %v, want %v", unixText, got, err, want)
	}
	for _, text := range []string{"", "garbage", strings.TrimPrefix(unixText, unixHeading), unixHeading + strings.Repeat("x", 1<<20)} {
		if got, err := collectUnixSockets(text); err == nil || got != nil {
			t.Errorf("scanUnixSockets(%.100q) = %v, %v, want an error", text, got, err)
		}
	}
}

func collectUnixSockets(text string) (out []UnixSocket, err error) {
	err = scanUnixSockets(strings.NewReader(text), func(s UnixSocket) bool { out = append(out, s); return true })
	return out, err
}

func FuzzScanUnixSockets(f *testing.F) {
	f.Add(unixText)
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := collectUnixSockets(text)
		if len(got) > strings.Count(text, "\n") {
			t.Errorf("scanUnixSockets(%q) = %d sockets of fewer lines", text, len(got))
		}
		for _, s := range got {
			if strings.Contains(s.Path, "\n") || len(s.Path) > maxUnixLine {
				t.Errorf("scanUnixSockets(%q) has path %q", text, s.Path)
			}
		}
	})
}
