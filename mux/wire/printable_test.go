package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"plain text, ~!":                      "plain text, ~!",
		"\x1b[2J\x1b]0;x\x07":                 "�[2J�]0;x�",
		"a\x00b\x7fc":                         "a�b�c",
		"\u009b2J":                            "�2J",
		"\x9b2J":                              "�2J",
		"broken \xff\xfe end":                 "broken �� end",
		"cut \xe2\x82":                        "cut ��",
		"line one\r\n\tline two\n":            "line one line two ",
		"a\u0085b\u2028c\u2029d":              "a b c d",
		"two  spaces":                         "two  spaces",
		"\u202eevil\u202c \u2066x\u2069":      "�evil� �x�",
		"left\u200e right\u200f arabic\u061c": "left� right� arabic�",
		"\ufeffbom zero\u200bwidth\u2060":     "�bom zero�width�",
		"tag \U000e0041\U000e007f":            "tag ��",
		"filler \u3164\u115f":                 "filler ��",
		"Grüße, 日本語, Ελληνικά, עברית, العربية": "Grüße, 日本語, Ελληνικά, עברית, العربية",
		"می\u200cخواهم क्\u200dष":              "می\u200cخواهم क्\u200dष",
		"👩\u200d👩\u200d👧 ❤️ 🇩🇪 👍🏽":             "👩\u200d👩\u200d👧 ❤️ 🇩🇪 👍🏽",
		"e\u0301 \ue0b0 \u00a0→ …":             "e\u0301 \ue0b0 \u00a0→ …",
		"�":                                    "�",
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[2J", "\u009b", "\xc2", "\u202e", "a\r\nb", "\U000e0001", "👩\u200d👩\u200d👧"} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		if !utf8.ValidString(got) {
			t.Errorf("Printable(%q) = %q, which is no UTF-8", text, got)
		}

		for _, r := range got {
			if r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
				t.Errorf("Printable(%q) = %q, with %U in it", text, got, r)
			}
		}

		if again := Printable(got); again != got {
			t.Errorf("Printable(%q) = %q, and of that %q, want no change", text, got, again)
		}
		if utf8.RuneCountInString(got) > utf8.RuneCountInString(text) {
			t.Errorf("Printable(%q) = %q, which is longer", text, got)
		}
		if !strings.ContainsRune(got, Substitute) && !strings.ContainsFunc(text, breaksLine) && got != text {
			t.Errorf("Printable(%q) = %q, want it as it is", text, got)
		}
	})
}
