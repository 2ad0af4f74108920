package completion

import (
	"slices"
	"strings"
	"testing"

	"kdiag/mux/wire"
)

func TestPrintTo(t *testing.T) {
	a := answer{directive: noFiles, candidates: []candidate{
		{"web", "a pod"},
		{"", "no word"},
		{"two\nlines", ""},
		{"esc\x1b[31m", ""},
		{strings.Repeat("x", longestWord+1), ""},
		{"about", "with\ttab,\nline and \x1b[31m"},
		{"long", strings.Repeat("y", 200)},
	}}

	var out strings.Builder
	if err := a.printTo(&out); err != nil {
		t.Fatal(err)
	}

	want := "web\ta pod\nabout\twith tab, line and �[31m\nlong\t" + strings.Repeat("y", longestAbout-1) + "…\n:4\n"
	if out.String() != want {
		t.Errorf("printTo = %q, want %q", out.String(), want)
	}
}

func TestPrintIsBounded(t *testing.T) {
	a := answer{candidates: slices.Repeat([]candidate{{"x", ""}}, 2*mostCandidates)}
	var out strings.Builder
	if err := a.printTo(&out); err != nil || strings.Count(out.String(), "\n") != mostCandidates+1 {
		t.Errorf("printTo: %d lines, %v, want %d", strings.Count(out.String(), "\n"), err, mostCandidates+1)
	}
}

func TestWithPrefix(t *testing.T) {
	a := answer{directive: noFiles, candidates: []candidate{{word: "deploy/"}, {word: "ds/"}, {word: "demo"}, {word: "app="}}}
	for typed, want := range map[string]struct {
		count     int
		directive directive
	}{
		"":    {4, noFiles},
		"d":   {3, noFiles},
		"de":  {2, noFiles},
		"dep": {1, noFiles | noSpace},
		"dem": {1, noFiles},
		"a":   {1, noFiles | noSpace},
		"x":   {0, noFiles},
	} {
		got := a.withPrefix(typed)

		if len(got.candidates) != want.count || got.directive != want.directive {
			t.Errorf("withPrefix(%q) = %d candidates, directive %d, want %d, %d", typed, len(got.candidates), got.directive, want.count, want.directive)
		}
	}
}

func FuzzPrintTo(f *testing.F) {
	f.Add("web", "a pod")
	f.Add("a\tb", "\x1b]0;title\a")
	f.Add("\u202eright to left", "\xff")
	f.Fuzz(func(t *testing.T, word, about string) {
		var out strings.Builder
		if err := (answer{candidates: []candidate{{word, about}}}).printTo(&out); err != nil {
			t.Fatal(err)
		}

		lines := strings.Split(out.String(), "\n")
		if len(lines) > 3 || lines[len(lines)-1] != "" || lines[len(lines)-2] != ":0" {
			t.Fatalf("printTo(%q, %q) = %q, want at most a line and the directive", word, about, out.String())
		}

		shown, _, _ := strings.Cut(lines[0], "\t")
		if len(lines) == 3 && shown != word {
			t.Errorf("printTo(%q) shows %q, another word", word, shown)
		}
		if text := strings.Replace(lines[0], "\t", "", 1); wire.Printable(text) != text {
			t.Errorf("printTo(%q, %q) = %q, want what is printable alone", word, about, out.String())
		}
	})
}
