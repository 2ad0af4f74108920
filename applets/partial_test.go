package applets

import (
	"io"
	"strings"
	"testing"
)

func testList() []Applet {
	return []Applet{
		choosing(),
		{Name: "many", Applets: []Applet{{Name: "one", Args: []Kind{KindFile}, Run: choosing().Run}}},
		{Name: "run", Args: []Kind{KindNone}, RestKind: KindCommand, Run: choosing().Run},
	}
}

// atCursor says what ReadPartial makes of a line, the cursor at its end.
func atCursor(t *testing.T, line string) string {
	p, ok := ReadPartial(t.Context(), testList(), strings.Split(line, " "), Build{}, Streams{Err: io.Discard})
	switch {
	case !ok:
		return "nothing"
	case p.Flag != nil:
		return "value of " + p.Flag.Names()[0] + " " + p.Word
	case strings.HasPrefix(p.Word, "-") && p.Rest == nil:
		var names []string
		for _, flag := range p.FlagWords() {
			names = append(names, flag.Name)
		}
		return "flags " + strings.Join(names, " ")
	case len(p.Commands) > 0:
		return "commands " + strings.Join(VisibleNames(p.Commands), " ")
	}

	return map[Kind]string{
		KindNone: "none", KindTarget: "target", KindPort: "port", KindFile: "file", KindCommand: "command",
	}[p.ArgKind()] + " " + p.Word
}

func TestReadPartial(t *testing.T) {
	for line, want := range map[string]string{
		"":                            "commands choose many run",
		"ch":                          "commands choose many run",
		"-l x ":                       "commands choose many run",
		"-l ":                         "value of selector ",
		"many ":                       "commands one",
		"many one ":                   "file ",
		"many two ":                   "nothing",
		"nonsense ":                   "nothing",
		"choose ":                     "target ",
		"choose we":                   "target we",
		"choose web ":                 "port ",
		"choose web 80 ":              "port ",
		"choose -l app=web ":          "port ",
		"choose --pod web ":           "port ",
		"choose -q ":                  "target ",
		"choose -o ":                  "value of output ",
		"choose -o=te":                "value of output te",
		"choose --output=te":          "value of output te",
		"choose web --color r":        "value of color r",
		"choose --quiet=f":            "flags --output --color --selector --outgoing --quiet --timeout",
		"choose --no-such --output j": "value of output j",
		"choose --timeout soon ":      "target ",
		"choose -":                    "flags --output -o --color --selector -l --outgoing --quiet -q --timeout",
		"choose -q --color red --":    "flags --output --color --selector --outgoing --timeout",
		"choose -- ":                  "none ",
		"choose -- -":                 "none -",
		"run -- ls -":                 "command -",
		"choose -- --output=te":       "none --output=te",
		"run ":                        "none ",
	} {
		if got := atCursor(t, line); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func FuzzReadPartial(f *testing.F) {
	f.Add("choose -l x --color=red -- a")
	f.Add("many one -qo")
	f.Fuzz(func(t *testing.T, line string) { _ = atCursor(t, line) })
}

func TestWrapHanging(t *testing.T) {
	got := wrapHanging("  label  ", "one two three", 16)
	if want := "  label  one two\n         three\n"; got != want {
		t.Errorf("wrapHanging = %q, want %q", got, want)
	}
	if got, want := wrapHanging("", "averyverylongword b", 5), "averyverylongword\nb\n"; got != want {
		t.Errorf("wrapHanging = %q, want %q", got, want)
	}
}

func TestDedent(t *testing.T) {
	got := Dedent("\n\t\t  0  done\n\n\t\t  1  failed\n\t")
	if want := "  0  done\n\n  1  failed"; got != want {
		t.Errorf("Dedent = %q, want %q", got, want)
	}
}

func TestFlagUsage(t *testing.T) {
	flag := choosing().Flags[0]
	if got, want := FlagUsage(flag), ": text or json (default text)"; got != want {
		t.Errorf("FlagUsage = %q, want %q", got, want)
	}
	for value, want := range map[string]string{"1m0s": "1m", "2h0m0s": "2h", "10s": "10s", "text": "text", "1m10s": "1m10s"} {
		if got := TrimDuration(value); got != want {
			t.Errorf("TrimDuration(%q) = %q, want %q", value, got, want)
		}
	}
}
