package cp

import (
	"testing"
	"time"

	"kdiag/mux/wire"
)

func TestParseRemote(t *testing.T) {
	for _, c := range []struct {
		word              string
		selected, windows bool
		want              remotePath
		isRemote, fails   bool
	}{
		{word: "web:/a", want: remotePath{"", "web", "/a"}, isRemote: true},
		{word: "web:a", want: remotePath{"", "web", "a"}, isRemote: true},
		{word: "web:/a:b", want: remotePath{"", "web", "/a:b"}, isRemote: true},
		{word: "deploy/web:/a", want: remotePath{"", "deploy/web", "/a"}, isRemote: true},
		{word: "deployment.apps/web:/a", want: remotePath{"", "deployment.apps/web", "/a"}, isRemote: true},
		{word: "shop/web:/a", want: remotePath{"shop", "web", "/a"}, isRemote: true},
		{word: ":/a", selected: true, want: remotePath{"", "", "/a"}, isRemote: true},
		{word: "a"}, {word: "a/b"}, {word: "/a:b"}, {word: "./a:b"}, {word: "../a:b"}, {word: "~/a:b"}, {word: "-"},
		{word: `C:\a`, windows: true}, {word: "C:/a", windows: true}, {word: `dir\a:b`, windows: true},
		{word: "c:/a", want: remotePath{"", "c", "/a"}, isRemote: true},
		{word: "web:", fails: true}, {word: ":/a", fails: true}, {word: "web:/a", selected: true, fails: true}, {word: "web:a\x00", fails: true},
	} {
		got, isRemote, err := parseRemote(c.word, c.selected, c.windows)
		if (err != nil) != c.fails || err == nil && (got != c.want || isRemote != c.isRemote) {
			t.Errorf("parseRemote(%q, %v, %v) = %+v, %v, %v, want %+v, %v", c.word, c.selected, c.windows, got, isRemote, err, c.want, c.isRemote)
		}
	}
}

func TestBase(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b": "b", "/a/b/": "b", "/a/b/.": "", "/": "", ".": "", "b": "b", "..": "", "/a/..": "", "/a/../b": "b", "a/./b": "b",
	} {
		if got := (remotePath{path: path}).base(); got != want {
			t.Errorf("base of %q = %q, want %q", path, got, want)
		}
	}
}

// TestMeter shows how far a copy is, how fast, and how long it takes.
func TestMeter(t *testing.T) {
	var m meter
	start := time.Now()
	if got, want := m.describe(start), "0 B  0 B/s"; got != want {
		t.Errorf("at first %q, want %q", got, want)
	}
	m.setTotals(wire.FilesTotals{Files: 1, Bytes: 100 << 20})
	m.add(50 << 20)
	if got, want := m.describe(start.Add(2*time.Second)), "[########        ]  50%  50.0 MiB of 100.0 MiB  25.0 MiB/s  2s left"; got != want {
		t.Errorf("in the middle %q, want %q", got, want)
	}
	if text := m.describe(start.Add(3 * time.Second)); len(text) > 76 {
		t.Errorf("%q does not fit a line", text)
	}
	m.add(60 << 20) // it has grown
	if got, want := m.describe(start.Add(20*time.Second)), "110.0 MiB  3.5 MiB/s"; got != want {
		t.Errorf("beyond the end %q, want %q", got, want)
	}
}
