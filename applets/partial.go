package applets

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Partial holds an unfinished command line, up to the cursor.
type Partial struct {
	// Invocation holds what stands before the word at the cursor. Its Flags are
	// nil if they cannot be parsed.
	*Invocation
	// Applet is the command that the line names, if any.
	Applet *Applet
	// Commands has the commands that could stand at the cursor.
	Commands []Applet
	// Known has the flags that the line may have.
	Known []cli.Flag
	// Flag is the flag whose value stands at the cursor, or nil.
	Flag cli.Flag
	// Word is the beginning of the word at the cursor. Of "--flag=value" it has
	// only the value.
	Word string
}

// ReadPartial parses the words of an unfinished line. The last word, which may be
// empty, stands at the cursor. It returns false if the line names an unknown
// command.
func ReadPartial(ctx context.Context, list []Applet, words []string, build Build, streams Streams) (Partial, bool) {
	p := Partial{Commands: list, Known: AllFlags(list)}
	if len(words) == 0 {
		words = []string{""}
	}

	before := words[:len(words)-1]
	p.Word = words[len(words)-1]
	for len(p.Commands) > 0 {
		name, left := SplitName(p.Known, before)
		if name == "" {
			break
		}

		at := slices.IndexFunc(p.Commands, func(a Applet) bool { return a.HasName(name) })
		if at < 0 {
			return Partial{}, false
		}

		p.Applet, before = &p.Commands[at], left
		p.Commands = p.Applet.Applets
		p.Known = AllFlags([]Applet{*p.Applet})
	}

	sorted := scanLine(p.Known, before)
	p.Invocation = &Invocation{Streams: streams, Build: build, Path: "kdiag __complete", Args: sorted.args, Rest: sorted.rest}
	p.Flags, _ = parseFlags(ctx, "", p.Known, sorted.flags)
	p.findFlag(sorted)
	return p, true
}

// findFlag sets p.Flag if the word at the cursor is a flag's value.
func (p *Partial) findFlag(before sortedLine) {
	known := flagsByName(p.Known)
	name, value, joined := strings.Cut(p.Word, "=")
	switch {
	case before.rest != nil:
	case before.awaits != "":
		p.Flag = known[strings.TrimLeft(before.awaits, "-")]
	case joined && strings.HasPrefix(name, "-"):
		if flag, ok := known[strings.TrimLeft(name, "-")]; ok && takesValue(flag) {
			p.Flag, p.Word = flag, value
		}
	}
}

// ArgKind returns the kind of the argument at the cursor. If a flag selects the
// target, the target is not expected as an argument.
func (p *Partial) ArgKind() Kind {
	if p.Applet == nil || len(p.Applet.Args) == 0 {
		return KindNone
	}
	if p.Rest != nil {
		return max(p.Applet.RestKind, KindNone)
	}

	kinds := p.Applet.Args
	if kinds[0] == KindTarget && p.targetByFlag() {
		kinds = kinds[1:]
	}
	if len(kinds) == 0 {
		return KindNone
	}

	return kinds[min(len(p.Args), len(kinds)-1)]
}

func (p *Partial) targetByFlag() bool {
	return len(p.ValuesOf(KindSelector))+len(p.ValuesOf(KindPod)) > 0
}

// ValuesOf collects the values that the line sets for flags of a kind.
func (p *Partial) ValuesOf(kind Kind) []string {
	var values []string
	for _, flag := range p.Known {
		if k, _ := FlagMeaning(flag); k == kind && p.Flags != nil {
			values = append(values, FlagValues(p.Flags, flag)...)
		}
	}
	return values
}

// FlagNamed pairs a flag with one of its names, including the dashes.
type FlagNamed struct {
	Name string
	Flag cli.Flag
}

// FlagWords lists the flags that could stand at the cursor: visible ones that the
// line does not set yet, by their long names. After a single dash it lists the
// short names too.
func (p *Partial) FlagWords() []FlagNamed {
	var words []FlagNamed
	for _, flag := range p.Known {
		_, list := flag.(listFlag)
		if !isVisible(flag) || !list && p.Flags != nil && p.Flags.IsSet(flag.Names()[0]) {
			continue
		}
		short, long := splitNames(flag)
		words = append(words, FlagNamed{withDashes(long), flag})
		if p.Word == "-" && short != "" {
			words = append(words, FlagNamed{withDashes(short), flag})
		}
	}

	return words
}
