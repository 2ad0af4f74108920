package applets

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// Kind says what a word on a command line is, an argument or a flag's value:
// by it completion knows what to propose.
type Kind int

// The kinds. What is of KindNone must not be there at all, for KindText there
// is nothing to propose.
const (
	KindUndeclared Kind = iota
	KindNone
	KindText
	// KindFixed is one of a few words, which OneOf declares.
	KindFixed
	KindFile
	// KindCommand is a program on this machine and its arguments.
	KindCommand
	// KindTopic is what "help" takes: a command or a topic.
	KindTopic
	// KindTarget is POD or TYPE/NAME.
	KindTarget
	KindPod
	// KindContainer and KindPort are those of the pod that the line names.
	KindContainer
	KindPort
	KindSelector
	KindNamespace
	// KindContext, KindCluster and KindUser are the kubeconfig's.
	KindContext
	KindCluster
	KindUser
)

// meaning is what a flag's value is.
type meaning struct {
	kind  Kind
	fixed []string
}

func (m meaning) flagMeaning() meaning { return m }

// stringFlag and listFlag embed the library's own types: it asks them for
// methods that an interface cannot carry.
type stringFlag struct {
	*cli.StringFlag
	meaning
}

type listFlag struct {
	*cli.StringSliceFlag
	meaning
}

// Names are what the library's own method returns, for it asks each flag for
// them a hundred times, and runs a regular expression on each name.
func (f stringFlag) Names() []string { return append([]string{f.Name}, f.Aliases...) }

// Names is stringFlag's.
func (f listFlag) Names() []string { return append([]string{f.Name}, f.Aliases...) }

// Takes declares what the value of a string flag or a list of strings is. Other
// flags, whose type says it already, are returned as they are.
func Takes(kind Kind, flag cli.Flag) cli.Flag { return declareMeaning(flag, meaning{kind: kind}) }

// OneOf declares the only values that a flag has. Execute holds the line to
// them, the applet need not.
func OneOf(flag cli.Flag, values ...string) cli.Flag {
	return declareMeaning(flag, meaning{kind: KindFixed, fixed: values})
}

func declareMeaning(flag cli.Flag, m meaning) cli.Flag {
	switch flag := flag.(type) {
	case *cli.StringFlag:
		return stringFlag{flag, m}
	case *cli.StringSliceFlag:
		return listFlag{flag, m}
	}
	return flag
}

// FlagMeaning is what was declared of a flag's value: its kind, and the values of
// one that is KindFixed. A flag that takes no value is KindNone.
func FlagMeaning(flag cli.Flag) (kind Kind, fixed []string) {
	if declared, ok := flag.(interface{ flagMeaning() meaning }); ok {
		return declared.flagMeaning().kind, declared.flagMeaning().fixed
	}

	switch flag.(type) {
	case *cli.StringFlag, *cli.StringSliceFlag:
		return KindUndeclared, nil
	}

	if takesValue(flag) {
		return KindText, nil
	}

	return KindNone, nil
}

// FlagValues are what the line gives a flag, in their order; none for one that it
// does not have.
func FlagValues(c *cli.Context, flag cli.Flag) []string {
	name := flag.Names()[0]
	if !c.IsSet(name) {
		return nil
	}
	if _, list := flag.(listFlag); list {
		return c.StringSlice(name)
	}
	return []string{c.String(name)}
}

// checkFixed holds the flags to the values that they declare.
func checkFixed(c *cli.Context, flags []cli.Flag) error {
	for _, flag := range flags {
		kind, fixed := FlagMeaning(flag)
		if kind != KindFixed {
			continue
		}
		for _, value := range FlagValues(c, flag) {
			if !slices.Contains(fixed, value) {
				return Usage("%s %s: it is %s", withDashes(shortestName(flag)), quoteEmpty(value), JoinChoices(fixed))
			}
		}
	}

	return nil
}

// quoteEmpty is a value as messages have it: as it is, but for one that would not
// be seen.
func quoteEmpty(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

func shortestName(flag cli.Flag) string {
	return slices.MinFunc(flag.Names(), func(a, b string) int { return min(len(a), 2) - min(len(b), 2) })
}

func withDashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
