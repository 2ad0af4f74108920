package applets

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// Kind tells completion what to propose for an argument or a flag's value.
type Kind int

// The kinds of words. KindNone allows no word at all; for KindText there is nothing
// to propose.
const (
	KindUndeclared Kind = iota
	KindNone
	KindText
	// KindFixed allows a few words only, which OneOf declares.
	KindFixed
	KindFile
	// KindCommand stands for a program on this machine and its arguments.
	KindCommand
	// KindTopic stands for a command or a help topic.
	KindTopic
	// KindTarget stands for POD or TYPE/NAME.
	KindTarget
	KindPod
	// KindCopied stands for a local path, or for one in a container: POD:PATH or TYPE/NAME:PATH.
	KindCopied
	// KindContainer and KindPort belong to the pod that the line names.
	KindContainer
	KindPort
	KindSelector
	KindNamespace
	// KindContext, KindCluster and KindUser come from the kubeconfig.
	KindContext
	KindCluster
	KindUser
)

// meaning says what a flag's value stands for.
type meaning struct {
	kind  Kind
	fixed []string
}

func (m meaning) flagMeaning() meaning { return m }

// stringFlag and listFlag embed the library's own types, since it looks for methods
// that an interface cannot carry.
type stringFlag struct {
	*cli.StringFlag
	meaning
}

type listFlag struct {
	*cli.StringSliceFlag
	meaning
}

// Names returns the flag's names. The library's own method returns the same, but
// runs a regular expression on each name, a hundred times for each flag.
func (f stringFlag) Names() []string { return append([]string{f.Name}, f.Aliases...) }

// Names returns the flag's names, as stringFlag's method does.
func (f listFlag) Names() []string { return append([]string{f.Name}, f.Aliases...) }

// Takes declares what the value of a string flag or a list of strings stands for.
// It returns other flags unchanged, since their types say enough.
func Takes(kind Kind, flag cli.Flag) cli.Flag { return declareMeaning(flag, meaning{kind: kind}) }

// OneOf declares the only values that a flag takes. Execute checks them, so that
// the applet need not.
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

// FlagMeaning returns what was declared for a flag's value: its kind and, for
// KindFixed, the values. A flag that takes no value is of KindNone.
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

// FlagValues returns the values that the command line sets for a flag, in order.
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

// checkFixed checks the values of the flags that OneOf declared.
func checkFixed(c *cli.Context, flags []cli.Flag) error {
	for _, flag := range flags {
		kind, fixed := FlagMeaning(flag)
		if kind != KindFixed {
			continue
		}
		for _, value := range FlagValues(c, flag) {
			if !slices.Contains(fixed, value) {
				return Usage("%s %s: must be %s", withDashes(shortestName(flag)), quoteEmpty(value), JoinChoices(fixed))
			}
		}
	}

	return nil
}

// quoteEmpty returns a value for a message, with quotes if it could not be seen.
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
