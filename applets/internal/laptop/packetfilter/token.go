package packetfilter

import (
	"fmt"
	"strconv"
	"strings"
)

// token is a word, an operator or the end of the filter.
type token struct {
	text     string
	from, to int
	// word says that it is a word: a keyword, a name, a number or an address. An escaped one, as
	// \tcp, is never a keyword.
	word, escaped bool
}

// operators lists those of several bytes before those that begin like them.
var operators = []string{"&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "[", "]", ":", "<", ">", "=", "!", "+", "-", "*", "/", "%", "&", "|", "^"}

// splitTokens splits the text into tokens, with one for the end.
func (p *parser) splitTokens() error {
	depth := 0 // of square brackets, in which a colon is an operator
	for at := 0; ; {
		at += len(p.text[at:]) - len(strings.TrimLeft(p.text[at:], " \t\r\n"))
		if at == len(p.text) {
			p.tokens = append(p.tokens, token{from: at, to: at})
			return nil
		}

		next, err := p.readToken(at, depth > 0)
		if err != nil {
			return err
		}
		switch next.text {
		case "[":
			depth++
		case "]":
			depth--
		}
		p.tokens = append(p.tokens, next)
		at = next.to
	}
}

// readToken reads the token that begins at a byte.
func (p *parser) readToken(at int, inBrackets bool) (token, error) {
	rest := p.text[at:]
	escaped := rest[0] == '\\'
	start := at
	if escaped {
		rest, start = rest[1:], at+1
	}

	if length := wordLength(rest, inBrackets); length > 0 {
		return token{text: rest[:length], from: at, to: start + length, word: true, escaped: escaped}, nil
	}
	for _, operator := range operators {
		if !escaped && strings.HasPrefix(rest, operator) {
			return token{text: operator, from: at, to: at + len(operator)}, nil
		}
	}

	end := at + len(string([]rune(p.text[at:])[:1]))
	return token{}, &SyntaxError{p.text, at, min(end, len(p.text)), "this means nothing here"}
}

// wordLength returns how long the word is that a text begins with. Addresses are words, too: a colon
// is part of one, but not in brackets, nor is a dash at its beginning or end.
func wordLength(text string, inBrackets bool) int {
	n := 0
	for n < len(text) {
		c := text[n]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_':
		case c == '-' && n > 0:
		case c == ':' && !inBrackets && (n > 0 || strings.HasPrefix(text, "::")):
		default:
			return len(strings.TrimRight(text[:n], "-"))
		}
		n++
	}
	return len(strings.TrimRight(text[:n], "-"))
}

// number reads a word as a number: decimal, hexadecimal with 0x, or octal with 0.
func (t token) number() (uint32, bool) {
	if !t.word || t.text[0] < '0' || t.text[0] > '9' || strings.Contains(t.text, "_") {
		return 0, false
	}
	n, err := strconv.ParseUint(t.text, 0, 32)
	return uint32(n), err == nil
}

// is reports whether a token is one of some operators or keywords.
func (t token) is(texts ...string) bool {
	if t.escaped || t.from == t.to {
		return false
	}
	for _, text := range texts {
		if t.text == text {
			return true
		}
	}
	return false
}

// fail returns an error at a token.
func (p *parser) fail(at token, format string, args ...any) error {
	return &SyntaxError{p.text, at.from, at.to, fmt.Sprintf(format, args...)}
}
