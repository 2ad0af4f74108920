package applets

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// valueOptional is a flag that stands without a value, as --flag does.
type valueOptional interface{ IsBoolFlag() bool }

// arranged is a command line in the order that package flag reads: flags,
// each as one word, apart from arguments.
type arranged struct {
	flags []string
	args  []string
	rest  []string
}

// arrange sorts a command line whose flags stand anywhere, in the spellings
// that kubectl takes (--name value, --name=value, -n value, -nvalue, -it), for
// a parser that stops at the first argument. What follows "--" is not read.
// A flag that flags does not have, or one without its value, is a usage error.
func arrange(flags []cli.Flag, line []string) (arranged, error) {
	known := flagsByName(flags)
	var out arranged
	for i := 0; i < len(line); i++ {
		word := line[i]
		switch {
		case word == "--":
			out.rest = append([]string{}, line[i+1:]...)
			return out, nil
		case word == "-" || !strings.HasPrefix(word, "-"):
			out.args = append(out.args, word)
		case strings.HasPrefix(word, "--"):
			name, value, given := strings.Cut(word[2:], "=")
			flag, ok := known[name]
			if !ok || len(name) == 1 {
				return arranged{}, unknownFlag(flags, "--"+name)
			}
			if !given && takesValue(flag) {
				if i+1 == len(line) {
					return arranged{}, Usage("flag --%s needs a value", name)
				}
				i++
				value, given = line[i], true
			}
			out.flags = append(out.flags, oneWord(name, value, given))
		default:
			words, took, err := arrangeShort(flags, known, word[1:], line[i+1:])
			if err != nil {
				return arranged{}, err
			}
			out.flags = append(out.flags, words...)
			i += took
		}
	}
	return out, nil
}

// arrangeShort reads a word of one-letter flags without its dash and returns
// how many of the words that follow it took as a value.
func arrangeShort(flags []cli.Flag, known map[string]cli.Flag, letters string, next []string) (words []string, took int, err error) {
	for letters != "" {
		name := letters[:1]
		letters = letters[1:]
		flag, ok := known[name]
		switch {
		case !ok:
			return nil, 0, unknownFlag(flags, "-"+name)
		case strings.HasPrefix(letters, "="):
			return append(words, oneWord(name, letters[1:], true)), 0, nil
		case !takesValue(flag):
			words = append(words, oneWord(name, "", false))
		case letters != "":
			return append(words, oneWord(name, letters, true)), 0, nil
		case len(next) == 0:
			return nil, 0, Usage("flag -%s needs a value", name)
		default:
			return append(words, oneWord(name, next[0], true)), 1, nil
		}
	}
	return words, took, nil
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
	err := &ExitError{Code: ExitUsage, Err: fmt.Errorf("unknown flag %s", flag)}
	given := strings.TrimLeft(flag, "-")
	if len(given) == 1 || len(flags) == 0 {
		return err
	}
	near := strings.TrimLeft(cli.SuggestFlag(flags, given, true), "-")
	// The measure that SuggestFlag goes by; below this it suggests anything.
	const alike = 0.85
	if len(near) > 1 && smetrics.JaroWinkler(near, given, 0.7, 4) >= alike {
		return WithHint(err, "did you mean --%s?", near)
	}
	return err
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
