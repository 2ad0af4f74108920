package filecopy

import (
	"strings"
	"testing"
)

// TestNamesOnWindows refuses what Windows does not take.
func TestNamesOnWindows(t *testing.T) {
	var seen seenNames
	rules := NameRules{Windows: true, FoldCase: true}
	for _, name := range []string{"CON", "con.txt", "NUL", "aux.tar.gz", "COM1", "lpt9.x", "COM¹", "CONIN$", "a:b", `a\b`, "a?", "a\x01", "a.", "a ", "nul .txt"} {
		if seen.refuse(name, rules) == "" {
			t.Errorf("%q is taken", name)
		}
	}
	for _, name := range []string{"console", "com", "com10", "lptx", ".con", "a b", "ümläut"} {
		if text := seen.refuse(name, rules); text != "" {
			t.Errorf("%q: %s", name, text)
		}
	}
}

// TestNamesThatDifferInCase refuses the second of two names that are the same there.
func TestNamesThatDifferInCase(t *testing.T) {
	var seen seenNames
	fold := NameRules{FoldCase: true}
	if text := seen.refuse("Makefile", fold); text != "" {
		t.Errorf("the first: %s", text)
	}
	if text := seen.refuse("makefile", fold); !strings.Contains(text, `"Makefile"`) {
		t.Errorf("the second: %q, want that it is the same as the first", text)
	}
	if text := seen.refuse("makefile", NameRules{}); text != "" {
		t.Errorf("where case counts: %s", text)
	}
}

func TestPartialName(t *testing.T) {
	for _, name := range []string{"a", strings.Repeat("n", 255), "\n"} {
		if partial := partialName(name); !IsPartialName(partial) || partial != partialName(name) || len(partial) > 64 {
			t.Errorf("partialName(%q) = %q", name, partial)
		}
	}
	names := newTempNames()
	for _, name := range []string{names.next(), begunMark, "a", ".kdiag-0123456789abcdeg.part", "0123456789abcdef.part"} {
		if IsPartialName(name) {
			t.Errorf("IsPartialName(%q)", name)
		}
	}
}
