package applets

import (
	"fmt"
	"slices"
	"strings"

	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// valueOptional is implemented by flags that may stand without a value.
type valueOptional interface{ IsBoolFlag() bool }

// sortedLine holds a command line in the order that package flag expects: flags,
// one word each, apart from arguments.
type sortedLine struct {
	flags []string
	args  []string
	rest  []string
	// unknown is the first unknown flag, with its dashes.
	unknown string
	// awaits is the flag, with its dashes, whose value is missing at the line's end.
	awaits string
}

// sortLine sorts a command line as scanLine does. An unknown flag, or one without
// its value, is a usage error.
func sortLine(flags []cli.Flag, line []string) (sortedLine, error) {
	out := scanLine(flags, line)
	switch {
	case out.unknown != "":
		return sortedLine{}, unknownFlag(flags, out.unknown)
	case out.awaits != "":
		return sortedLine{}, Usage("flag %s needs a value", out.awaits)
	}
	return out, nil
}

// scanLine separates flags from arguments, because package flag stops at the
// first argument while kubectl allows flags anywhere. It accepts kubectl's
// spellings: --name value, --name=value, -n value, -nvalue and -it. It does not
// look at what follows "--".
func scanLine(flags []cli.Flag, line []string) sortedLine {
	known := flagsByName(flags)
	var out sortedLine
	for i := 0; i < len(line); i++ {
		word := line[i]
		switch {
		case word == "--":
			out.rest = append([]string{}, line[i+1:]...)
			return out
		case word == "-" || !strings.HasPrefix(word, "-"):
			out.args = append(out.args, word)
		case strings.HasPrefix(word, "--"):
			i += out.readLong(known, word[2:], line[i+1:])
		default:
			i += out.readShort(known, word[1:], line[i+1:])
		}
	}

	return out
}

// readLong reads a long flag without its dashes. It returns how many of the
// following words were the flag's value.
func (out *sortedLine) readLong(known map[string]cli.Flag, word string, next []string) (took int) {
	name, value, given := strings.Cut(word, "=")
	flag, ok := known[name]
	switch {
	case !ok || len(name) == 1:
		out.noteUnknown("--" + name)
		return 0
	case given || !takesValue(flag):
		out.flags = append(out.flags, oneWord(name, value, given))
		return 0
	}

	return out.takeValue("--", name, next)
}

// readShort reads a word of one-letter flags. It returns what readLong does.
func (out *sortedLine) readShort(known map[string]cli.Flag, letters string, next []string) (took int) {
	for letters != "" {
		name := letters[:1]
		letters = letters[1:]
		flag, ok := known[name]
		switch {
		case !ok:
			out.noteUnknown("-" + name)
			return 0
		case strings.HasPrefix(letters, "="):
			out.flags = append(out.flags, oneWord(name, letters[1:], true))
			return 0
		case !takesValue(flag):
			out.flags = append(out.flags, oneWord(name, "", false))
		case letters != "":
			out.flags = append(out.flags, oneWord(name, letters, true))
			return 0
		default:
			return out.takeValue("-", name, next)
		}
	}

	return 0
}

// takeValue reads the next word as a flag's value.
func (out *sortedLine) takeValue(dashes, name string, next []string) (took int) {
	if len(next) == 0 {
		out.awaits = dashes + name
		return 0
	}
	out.flags = append(out.flags, oneWord(name, next[0], true))
	return 1
}

func (out *sortedLine) noteUnknown(flag string) {
	if out.unknown == "" {
		out.unknown = flag
	}
}

func flagsByName(flags []cli.Flag) map[string]cli.Flag {
	known := map[string]cli.Flag{}
	for _, flag := range flags {
		for _, name := range flag.Names() {
			known[name] = flag
		}
	}
	return known
}

func takesValue(flag cli.Flag) bool {
	_, isBool := flag.(*cli.BoolFlag)
	optional, ok := flag.(valueOptional)
	return !isBool && (!ok || !optional.IsBoolFlag())
}

func oneWord(name, value string, given bool) string {
	if !given {
		return "--" + name
	}
	return "--" + name + "=" + value
}

func unknownFlag(flags []cli.Flag, flag string) error {
	err := Usage("unknown flag %s", flag)
	given := strings.TrimLeft(flag, "-")
	if len(given) == 1 {
		return err
	}

	var names []string
	for _, f := range flags {
		if isVisible(f) {
			names = append(names, f.Names()...)
		}
	}

	if near := NearestWord(given, names); len(near) > 1 {
		return WithHint(err, "did you mean --%s?", near)
	}

	return err
}

// SplitApplet splits off the applet's name, as SplitName does, from a line that
// may begin with flags of any applet in list. It returns early if the line begins
// with the name, as most do: the flag library runs a regular expression for each
// flag's names, which is slow.
func SplitApplet(list []Applet, line []string) (name string, left []string) {
	if len(line) > 0 && !strings.HasPrefix(line[0], "-") {
		return line[0], line[1:]
	}
	return SplitName(AllFlags(list), line)
}

// UnknownCommand returns the error for a name that no applet has. It blames an
// unknown flag before the name first, whose value may have been read as the name.
func UnknownCommand(list []Applet, line []string, name string) error {
	flags := AllFlags(list)
	if before := scanLine(flags, line[:max(0, slices.Index(line, name))]); before.unknown != "" {
		return unknownFlag(flags, before.unknown)
	}
	err := &ExitError{Code: ExitUnknown, Err: fmt.Errorf("%s%q", wire.UnknownCommand, name)}
	return DidYouMean(err, name, VisibleNames(list))
}

// SplitName finds the applet's name in a line that may begin with flags, as in
// "-n ns shell POD". It returns the name, or "" if there is none, and the rest of
// the line.
func SplitName(flags []cli.Flag, line []string) (name string, left []string) {
	known := flagsByName(flags)
	for i := 0; i < len(line); i++ {
		word := line[i]
		if word == "--" {
			break
		}

		if !strings.HasPrefix(word, "-") || word == "-" {
			left = append(left, line[:i]...)
			return word, append(left, line[i+1:]...)
		}

		bare := strings.TrimLeft(word, "-")
		if flag, ok := known[bare]; ok && takesValue(flag) {
			i++
		}
	}

	return "", line
}
