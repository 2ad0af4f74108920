package logs

import (
	"bytes"
	"hash/fnv"
	"io"
	"regexp"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// painter colours parts of a line. The zero painter leaves them plain.
type painter struct {
	on bool
	// terminal is set if the output is a terminal: what a line does to its colours and
	// its cursor must not reach the next line's beginning.
	terminal  bool
	highlight *regexp.Regexp
}

// palette lists the colours for pods (ECMA-48, SGR), which are readable on light
// and dark backgrounds. A pod's colour depends on its name alone, so that it is the
// same in every run.
var palette = [...]string{"36", "32", "33", "35", "34", "96", "92", "93", "95", "94"}

func colourOf(pod string) string {
	hash := fnv.New32a()
	_, _ = io.WriteString(hash, pod)
	return palette[hash.Sum32()%uint32(len(palette))]
}

func appendSGR(to []byte, codes string) []byte {
	return append(append(append(to, "\x1b["...), codes...), 'm')
}

// appendPod appends a pod's name in bold.
func (p painter) appendPod(to []byte, pod string) []byte {
	name := wire.Printable(pod)
	if !p.on {
		return append(to, name...)
	}
	return appendSGR(append(appendSGR(to, "1;"+colourOf(pod)), name...), "0")
}

// appendContainer appends a container's name in its pod's colour.
func (p painter) appendContainer(to []byte, container, pod string) []byte {
	name := wire.Printable(container)
	if !p.on {
		return append(to, name...)
	}
	return appendSGR(append(appendSGR(to, colourOf(pod)), name...), "0")
}

// appendText appends the line itself, with highlighted parts in reverse video. prefix is
// what stands before it.
func (p painter) appendText(to, prefix, text []byte) []byte {
	if !p.terminal && !p.on || isPlainText(text) {
		return p.appendHighlighted(to, text)
	}

	text = bytes.TrimRight(text, "\r")
	prefix = bytes.Clone(prefix)
	for i, part := range bytes.Split(text, []byte("\r")) {
		if i > 0 {
			to = append(append(to, '\r'), prefix...)
		}
		if p.terminal {
			part = appendObeyed(nil, part)
		}
		to = p.appendHighlighted(to, part)
	}
	if bytes.IndexByte(text, '\x1b') >= 0 {
		to = append(to, endSequences...)
	}

	return to
}

// isPlainText reports whether a text is printable ASCII and tabs.
func isPlainText(text []byte) bool {
	return !bytes.ContainsFunc(text, func(r rune) bool { return (r < ' ' || r > '~') && r != '\t' })
}

// appendObeyed appends what a terminal may obey in a line of an application: colours and tabs. Other
// sequences could set the window's title, clear the screen or fill the clipboard; what begins them is
// replaced, so that they are seen.
func appendObeyed(to, text []byte) []byte {
	for len(text) > 0 {
		at := bytes.IndexAny(text, "\t\x1b")
		if at < 0 {
			return append(to, wire.Printable(string(text))...)
		}
		to = append(to, wire.Printable(string(text[:at]))...)
		text = text[at:]

		length := max(1, colourLength(text))
		if length > 1 || text[0] == '\t' {
			to = append(to, text[:length]...)
		} else {
			to = append(to, string(wire.Substitute)...)
		}
		text = text[length:]
	}

	return to
}

// colourLength returns the length of the sequence for colours (ECMA-48, SGR) that a text begins with,
// or 0.
func colourLength(text []byte) int {
	rest, found := bytes.CutPrefix(text, []byte("\x1b["))
	if !found {
		return 0
	}
	rest = bytes.TrimLeft(rest, "0123456789;:")
	if len(rest) == 0 || rest[0] != 'm' {
		return 0
	}
	return len(text) - len(rest) + 1
}

// endSequences ends a control string or sequence that is open (ECMA-48, ST), and all
// colours (SGR 0).
const endSequences = "\x1b\\\x1b[0m"

func (p painter) appendHighlighted(to, text []byte) []byte {
	if !p.on || p.highlight == nil {
		return append(to, text...)
	}

	at := 0
	for _, found := range p.highlight.FindAllIndex(text, -1) {
		if found[0] == found[1] {
			continue
		}
		to = append(to, text[at:found[0]]...)
		to = appendSGR(append(appendSGR(to, "7"), text[found[0]:found[1]]...), "27")
		at = found[1]
	}

	return append(to, text[at:]...)
}

// wantsColour decides whether to colour the output: when is auto, always or never.
func wantsColour(when string, out io.Writer) bool {
	return when == "always" || when == "auto" && applets.WantsColour(out)
}
