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
	if !p.terminal && !p.on || bytes.IndexByte(text, '\r') < 0 && bytes.IndexByte(text, '\x1b') < 0 {
		return p.appendHighlighted(to, text)
	}

	text = bytes.TrimRight(text, "\r")
	prefix = bytes.Clone(prefix)
	for i, part := range bytes.Split(text, []byte("\r")) {
		if i > 0 {
			to = append(append(to, '\r'), prefix...)
		}
		to = p.appendHighlighted(to, part)
	}
	if bytes.IndexByte(text, '\x1b') >= 0 {
		to = append(to, endSequences...)
	}

	return to
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
