package applets

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// valueOptional is a flag that stands without a value, as --flag does.
type valueOptional interface{ IsBoolFlag() bool }

// sortedLine is a command line in the order that package flag reads: flags,
// each as one word, apart from arguments.
type sortedLine struct {
	flags []string
	args  []string
	rest  []string
	// unknown is the first flag that there is none of, with its dashes.
	unknown string
	// awaits is the flag that ends the line without its value, with its dashes.
	awaits string
}

// sortLine sorts a command line as read does. A flag that flags does not have,
// or one without its value, is a usage error.
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

// scanLine sorts a command line whose flags stand anywhere, in the spellings that
// kubectl takes (--name value, --name=value, -n value, -nvalue, -it), for a
// parser that stops at the first argument. What follows "--" is not read.
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

// readLong reads a long flag without its dashes, and returns how many of the words
// that follow it took as a value.
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

// readShort reads a word of one-letter flags, and returns what long does.
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

// takeValue takes the next word for a flag's.
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

// SplitApplet is SplitName for a line that may begin with flags of any of some
// applets. A line that begins with the name, as most do, is not held against
// them: the library reads each flag's names by a regular expression.
func SplitApplet(list []Applet, line []string) (name string, left []string) {
	if len(line) > 0 && !strings.HasPrefix(line[0], "-") {
		return line[0], line[1:]
	}
	return SplitName(AllFlags(list), line)
}

// UnknownCommand is the error for a line whose name no applet has. A mistyped
// flag before it may be why: its value is then taken for the name.
func UnknownCommand(list []Applet, line []string, name string) error {
	flags := AllFlags(list)
	if before := scanLine(flags, line[:max(0, slices.Index(line, name))]); before.unknown != "" {
		return unknownFlag(flags, before.unknown)
	}
	err := &ExitError{Code: ExitUnknown, Err: fmt.Errorf("unknown command %q", name)}
	return DidYouMean(err, name, VisibleNames(list))
}

// SplitName finds the applet's name in a line that may begin with flags, as
// in "-n ns shell POD", and returns it with the line that is left. The name is
// empty where there is none.
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
