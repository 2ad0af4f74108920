// Package wire defines what the two ends of kdiag, on the laptop and in the pod, must agree on.
// It needs only the standard library.
package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Substitute replaces each character that is not printable.
const Substitute = unicode.ReplacementChar

// Printable turns a text from anywhere into one line that a terminal can show without obeying
// anything in it. Line ends and tabs become a space. Control characters (of C1, too), invalid
// UTF-8, invisible characters, and those that change the direction of writing become
// Substitute. Letters of any script and emoji stay.
func Printable(text string) string {
	if isPlain(text) {
		return text
	}

	var out strings.Builder
	out.Grow(len(text))
	blank := false
	for _, r := range text {
		again := blank
		if blank = breaksLine(r); blank {
			if !again {
				out.WriteByte(' ')
			}
			continue
		}

		if !isPrintable(r) {
			r = Substitute
		}

		out.WriteRune(r)
	}

	return out.String()
}

// OneLine puts a single space for all white space between words, and none at the ends. It keeps
// characters that are not printable.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// isPlain reports whether a text is printable ASCII, as nearly all texts are.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// breaksLine reports whether a character is white space that ends a line or moves within it.
func breaksLine(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}

// isPrintable reports whether Printable leaves a character as it is.
func isPrintable(r rune) bool {
	switch {
	case r < utf8.RuneSelf:
		return r >= ' ' && r <= '~'
	case r == zeroWidthNonJoiner, r == zeroWidthJoiner:
		return true
	}
	return !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Zl, unicode.Zp,
		unicode.Noncharacter_Code_Point, unicode.Other_Default_Ignorable_Code_Point)
}

// Scripts such as Persian and Devanagari, and emoji of several parts, cannot be
// written without these two (Unicode 15, 9.2, 12.1 and UTS #51, 2.3).
const (
	zeroWidthNonJoiner = 0x200c
	zeroWidthJoiner    = 0x200d
)
