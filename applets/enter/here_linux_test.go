package enter

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestQuoteWords has a shell read the same words again.
func TestQuoteWords(t *testing.T) {
	for _, words := range [][]string{
		{"/app", "-v", "--name=x"},
		{"sh", "-c", "echo 'it''s' \"$HOME\" $(id) `id` \\ ; exit 1"},
		{""}, {" ", "\t", "\n", "a\nb"}, {"'", "''", `\'`, `"`}, {"~", "*", "[a]", "{a,b}", "!x", "#", "a=b", "&", "|", "<", ">"},
		{"ünï", "\x01\xff"},
	} {
		quoted := quoteWords(words)
		if got := evalWords(t, quoted); !slices.Equal(got, words) {
			t.Errorf("quoteWords(%q) = %s, which is read as %q", words, quoted, got)
		}
	}
	if got, want := quoteWords([]string{"/app", "it's", "a b"}), `/app 'it'\''s' 'a b'`; got != want {
		t.Errorf("quoteWords = %s, want %s", got, want)
	}
}

// FuzzQuoteWord has a shell read the same word again.
func FuzzQuoteWord(f *testing.F) {
	f.Add("it's")
	f.Fuzz(func(t *testing.T, word string) {
		if strings.Contains(word, "\x00") {
			return // no argument has one
		}
		if got := evalWords(t, quoteWords([]string{word})); !slices.Equal(got, []string{word}) {
			t.Errorf("%q is read as %q", word, got)
		}
	})
}

// evalWords returns the words that a shell reads from a text.
func evalWords(t *testing.T, quoted string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `eval "set -- $1"; printf '%s\000' "$@"`, "sh", quoted).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// TestFindProgram finds what a runtime would execute.
func TestFindProgram(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	write := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(one, "data"), 0o644)
	write(filepath.Join(two, "data"), 0o755)
	write(filepath.Join(two, "app"), 0o755)
	if err := os.Mkdir(filepath.Join(one, "app"), 0o755); err != nil {
		t.Fatal(err)
	}

	path := "relative::" + one + ":" + two
	for word, want := range map[string]string{
		"app": two + "/app", "data": two + "/data", "none": "none", "./app": "./app", "/app": "/app", "": "",
	} {
		if got := findProgram(word, path); got != want {
			t.Errorf("findProgram(%q) = %q, want %q", word, got, want)
		}
	}
}
