package completion

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// Candidates is "kdiag __complete", which kubectl calls by the name
// kubectl_complete-kdiag: its arguments are the words of a line up to the
// cursor, the last one is to be completed. The protocol is cobra's, which
// kubectl's completion of plugins has: a candidate a line, with a tab and a
// description, and last a line with the directive
// (k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go).
func Candidates(registry func() []applets.Applet, topics func() []applets.Topic) applets.Applet {
	return applets.Applet{
		Name:      "__complete",
		Aliases:   []string{"kubectl_complete-kdiag"},
		Summary:   "Print what could stand at the end of a line, for a shell",
		ArgsUsage: "WORD ...",
		Hidden:    true,
		Raw:       true,
		Args:      []applets.Kind{applets.KindText},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			late := time.After(patience + grace)
			answers := make(chan answer, 1)
			streams := applets.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}
			known := catalogue{registry(), topics()}
			go func() { answers <- known.proposeWords(ctx, inv.Args, inv.Build, streams) }()
			found := answer{directive: noFiles}
			// A credential plugin does not end with a context.
			select {
			case found = <-answers:
			case <-late:
			}

			return found.printTo(inv.Out)
		},
	}
}

// patience bounds the requests, for a user who pressed Tab waits for them, and
// grace what is made of their failure.
const (
	patience = time.Second
	grace    = 200 * time.Millisecond
)

// A candidate is a word that could stand at the cursor.
type candidate struct {
	word string
	// about says what it is, in a few words; it may be empty.
	about string
}

// answer is what could stand at the cursor, and what the shell may do beside.
type answer struct {
	candidates []candidate
	directive  directive
}

// directive is a set of cobra's ShellCompDirective bits.
type directive int

const (
	// files has the shell propose files where there are no candidates.
	files directive = 0
	// noSpace: the one candidate that is left is not the end of a word.
	noSpace directive = 2
	noFiles directive = 4
)

// Bounds of what is printed: names of the API have 253 characters at most, and
// a label with its value 317 + 63.
const (
	mostCandidates = 1000
	longestWord    = 512
	longestAbout   = 80
)

// withPrefix keeps the candidates that begin with what was typed.
func (a answer) withPrefix(typed string) answer {
	kept := answer{directive: a.directive}
	open := 0
	for _, c := range a.candidates {
		if !strings.HasPrefix(c.word, typed) {
			continue
		}
		kept.candidates = append(kept.candidates, c)
		if strings.HasSuffix(c.word, "/") || strings.HasSuffix(c.word, "=") {
			open++
		}
	}

	if open > 0 && open == len(kept.candidates) {
		kept.directive |= noSpace
	}

	return kept
}

func (a answer) printTo(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, c := range a.candidates[:min(mostCandidates, len(a.candidates))] {
		// Made printable it would be another word.
		if c.word == "" || len(c.word) > longestWord || wire.Printable(c.word) != c.word {
			continue
		}
		line := c.word
		if about := shorten(c.about); about != "" {
			line += "\t" + about
		}
		fmt.Fprintln(out, line)
	}

	fmt.Fprintf(out, ":%d\n", a.directive)
	return out.Flush()
}

// shorten is a text for the end of a line: printable, and not long.
func shorten(text string) string {
	text = strings.Join(strings.Fields(wire.Printable(text)), " ")
	if runes := []rune(text); len(runes) > longestAbout {
		return string(runes[:longestAbout-1]) + "…"
	}
	return text
}
