package wire

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// PrintableJSON makes a JSON text printable without changing its meaning: it replaces
// characters in strings that are not printable by escapes. encoding/json leaves such characters
// in what it writes, DEL and those of C1 among them.
func PrintableJSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, mustEscape) && utf8.Valid(text) {
		return text
	}

	out := make([]byte, 0, len(text)+16)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case !mustEscape(r):
			out = append(out, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}

		text = text[size:]
	}

	return out
}

// mustEscape reports whether a JSON text with the character would not be printable. A character
// below a space can only be white space between tokens.
func mustEscape(r rune) bool { return r >= ' ' && !isPrintable(r) }
