package wire

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// PrintableJSON makes a JSON text printable and leaves what it says as it is:
// in its strings, each character that is not printable becomes an escape.
// What encoding/json writes has such characters, DEL and those of C1 among them.
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

// mustEscape reports whether a character may not stand in a printable JSON
// text. What is below a space can only be white space between its tokens.
func mustEscape(r rune) bool { return r >= ' ' && !isPrintable(r) }
