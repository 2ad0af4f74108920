package wire

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestPrintableJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": "plain"}`:          `{"a": "plain"}`,
		"{\n\t\"a\": 1\n}\n":      "{\n\t\"a\": 1\n}\n",
		"[\"\u007f\u009b2J\"]":    `["\u007f\u009b2J"]`,
		"[\"\u202e \U000e0041\"]": `["\u202e \udb40\udc41"]`,
		"[\"\x9b2J\"]":            `["\ufffd2J"]`,
		`["\u001b[2J", "Grüße 👩‍👩‍👧", "a & b"]`: `["\u001b[2J", "Grüße 👩‍👩‍👧", "a & b"]`,
	} {
		if got := string(PrintableJSON([]byte(text))); got != want {
			t.Errorf("PrintableJSON(%q) = %q, want %q", text, got, want)
		}
	}
}

// FuzzPrintableJSON wants the text to mean the same, without anything that a terminal obeys.
func FuzzPrintableJSON(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[2J", "\u009b", "\xc2", "\u202e", "\\", `"`, "\U000e0001", "\ufffd"} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, text string) {
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}

		var want, got string
		if err := json.Unmarshal(encoded, &want); err != nil {
			t.Fatal(err)
		}

		printable := PrintableJSON(encoded)
		if err := json.Unmarshal(printable, &got); err != nil || got != want {
			t.Errorf("PrintableJSON(%q) = %q, which says %q (%v), want %q", encoded, printable, got, err, want)
		}

		for _, r := range string(printable) {
			if !utf8.ValidString(string(printable)) || mustEscape(r) || r < ' ' {
				t.Errorf("PrintableJSON(%q) = %q, with %U in it", encoded, printable, r)
			}
		}
	})
}
