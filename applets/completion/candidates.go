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

// Candidates declares "kdiag __complete", which kubectl calls by the name
// kubectl_complete-kdiag. Its arguments are the words of a line up to the cursor, and
// it completes the last one. The protocol is cobra's, which kubectl uses for
// plugins: one candidate per line, followed by a tab and a description, and at the
// end a line with the directive (k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go).
func Candidates(registry func() []applets.Applet, topics func() []applets.Topic) applets.Applet {
	return applets.Applet{
		Name:      "__complete",
		Aliases:   []string{"kubectl_complete-kdiag"},
		Summary:   "Print completions for a command line",
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
			// A credential plugin may not stop when ctx ends.
			select {
			case found = <-answers:
			case <-late:
			}

			return found.printTo(inv.Out)
		},
	}
}

// patience bounds the requests, since a user who pressed Tab is waiting. grace is the
// extra time to print what is known after they fail.
const (
	patience = time.Second
	grace    = 200 * time.Millisecond
)

// A candidate holds a word that could stand at the cursor.
type candidate struct {
	word string
	// about describes the word briefly; it may be empty.
	about string
}

// answer holds the candidates, and what else the shell may do.
type answer struct {
	candidates []candidate
	directive  directive
}

// directive holds bits of cobra's ShellCompDirective.
type directive int

const (
	// files makes the shell propose files if there are no candidates.
	files directive = 0
	// noSpace means that the word goes on after the candidate.
	noSpace directive = 2
	noFiles directive = 4
)

// Bounds of what is printed. API names have at most 253 characters, and a label with
// its value at most 317 + 63.
const (
	mostCandidates = 1000
	longestWord    = 512
	longestAbout   = 80
)

// withPrefix keeps the candidates that begin with what the user has typed.
func (a answer) withPrefix(typed string) answer {
	kept := answer{directive: a.directive}
	open := 0
	for _, c := range a.candidates {
		if !strings.HasPrefix(c.word, typed) {
			continue
		}
		kept.candidates = append(kept.candidates, c)
		if strings.HasSuffix(c.word, "/") || strings.HasSuffix(c.word, "=") || strings.HasSuffix(c.word, ":") {
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
		// Making it printable would change the word, so leave it out.
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

// shorten makes a description printable and limits its length.
func shorten(text string) string {
	text = wire.OneLine(wire.Printable(text))
	if runes := []rune(text); len(runes) > longestAbout {
		return string(runes[:longestAbout-1]) + "…"
	}
	return text
}
