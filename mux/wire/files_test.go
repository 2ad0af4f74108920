package wire

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sampleEntries has one of each kind, with bounds reached.
var sampleEntries = []Entry{
	{Kind: KindFile, Name: "a", Mode: 0o644, MTime: 1, Size: 3},
	{Kind: KindFile, Name: strings.Repeat("n", MaxFileName), Mode: MaxFileMode, MTime: -1, UID: 1<<32 - 1, GID: 1<<32 - 1, Size: 1<<63 - 1, Number: 1<<32 - 1},
	{Kind: KindFile, Name: "from stdin", Size: -1},
	{Kind: KindDirectory, Name: "d\nx", Mode: 0o755},
	{Kind: KindSymlink, Name: "l", Link: strings.Repeat("../", 1000)},
	{Kind: KindHardLink, Name: "h", Number: 7},
}

func TestEntry(t *testing.T) {
	for _, want := range sampleEntries {
		got, err := ParseEntry(AppendEntry(nil, want))
		if err != nil || got != want {
			t.Errorf("ParseEntry(AppendEntry(%+v)) = %+v, %v", want, got, err)
		}
	}
}

// TestEntryRefused refuses what could lead out of a directory, or is none of the kinds.
func TestEntryRefused(t *testing.T) {
	file := func(name string) Entry { return Entry{Kind: KindFile, Name: name} }
	for _, e := range []Entry{
		file(""), file("."), file(".."), file("a/b"), file("/etc/passwd"), file("a\x00b"), file(strings.Repeat("n", MaxFileName+1)),
		{Kind: KindFile, Name: "a", Size: -2},
		{Kind: KindFile, Name: "a", Mode: MaxFileMode + 1},
		{Kind: KindFile, Name: "a", Link: "b"},
		{Kind: KindSymlink, Name: "a"},
		{Kind: KindSymlink, Name: "a", Link: "b\x00"},
		{Kind: KindSymlink, Name: "a", Link: strings.Repeat("l", MaxLinkText+1)},
		{Kind: KindDirectory, Name: "a", Size: 1},
		{Kind: KindHardLink, Name: "a"},
		{Kind: 'b', Name: "a"}, {Name: "a"},
	} {
		if got, err := ParseEntry(AppendEntry(nil, e)); err == nil {
			t.Errorf("ParseEntry accepts %+v", got)
		}
	}
}

func TestEntryCutShort(t *testing.T) {
	whole := AppendEntry(nil, sampleEntries[0])
	for size := range len(whole) {
		if got, err := ParseEntry(whole[:size]); err == nil {
			t.Errorf("ParseEntry accepts %d of %d bytes as %+v", size, len(whole), got)
		}
	}
}

func TestFileEnd(t *testing.T) {
	for _, want := range []FileEnd{{Size: 5, Digest: [32]byte{1, 31: 2}}, {Failed: true}} {
		if got, err := ParseFileEnd(AppendFileEnd(nil, want)); err != nil || got != want {
			t.Errorf("ParseFileEnd(AppendFileEnd(%+v)) = %+v, %v", want, got, err)
		}
	}
	for _, content := range [][]byte{nil, make([]byte, 40), append([]byte{2}, make([]byte, 40)...), append([]byte{0, 0x80}, make([]byte, 39)...)} {
		if got, err := ParseFileEnd(content); err == nil {
			t.Errorf("ParseFileEnd(%x) = %+v, want an error", content, got)
		}
	}
}

func TestResumePoint(t *testing.T) {
	want := ResumePoint{Size: 1 << 40, Digest: [32]byte{3}}
	if got, err := ParseResumePoint(AppendResumePoint(nil, want)); err != nil || got != want {
		t.Errorf("ParseResumePoint = %+v, %v, want %+v", got, err, want)
	}
	if got, err := ParseResumePoint(make([]byte, 39)); err == nil {
		t.Errorf("ParseResumePoint of 39 bytes = %+v", got)
	}
}

func TestFilesArguments(t *testing.T) {
	want := FilesArguments{Target: TargetArguments{ID: "0123456789ab", SharedPIDs: true}, Write: true, AsTarget: true, Preserve: true}
	words := want.Args()
	if got, err := ParseFilesArguments(words[1:]); err != nil || !reflect.DeepEqual(got, want) || words[0] != AppletFiles {
		t.Errorf("ParseFilesArguments(%q) = %+v, %v, want %+v", words, got, err, want)
	}
	if _, err := ParseFilesArguments([]string{"--write", "/etc/passwd"}); err == nil {
		t.Error("ParseFilesArguments accepts a path")
	}
	if words := (FilesArguments{}).Args(); !slices.Equal(words, []string{AppletFiles}) {
		t.Errorf("Args = %q", words)
	}
}

// FuzzEntry wants entries that were read to lead nowhere, and to say the same when they are written
// again.
func FuzzEntry(f *testing.F) {
	for _, e := range sampleEntries {
		f.Add(AppendEntry(nil, e))
	}
	f.Add([]byte{'f', 0xff, 0xff})

	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := ParseEntry(content)
		if err != nil {
			return
		}
		if !IsFileName(e.Name) || strings.ContainsAny(e.Name, "/\x00") || e.Name == ".." {
			t.Errorf("name %q", e.Name)
		}
		again, err := ParseEntry(AppendEntry(nil, e))
		if err != nil || again != e {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

// FuzzFileEnd wants ends that were read to be written in the same way.
func FuzzFileEnd(f *testing.F) {
	f.Add(AppendFileEnd(nil, FileEnd{Size: 5, Failed: true}))
	f.Fuzz(func(t *testing.T, content []byte) {
		if e, err := ParseFileEnd(content); err == nil && !bytes.Equal(AppendFileEnd(nil, e), content) {
			t.Errorf("%x became %x", content, AppendFileEnd(nil, e))
		}
		if p, err := ParseResumePoint(content); err == nil && !bytes.Equal(AppendResumePoint(nil, p), content) {
			t.Errorf("%x became %x", content, AppendResumePoint(nil, p))
		}
	})
}
