package applets

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// A Topic describes a page of help that belongs to no single command.
type Topic struct {
	Name string
	// Summary stands beside the name in the list of topics.
	Summary string
	Text    string
}

// CategoryFlags collects the visible flags of a category from a list of applets,
// each once. A category has the name of the topic that describes its flags.
func CategoryFlags(list []Applet, category string) []cli.Flag {
	return collectFlags(list, func(flag cli.Flag) bool { return isVisible(flag) && categoryOf(flag) == category })
}

// AllFlags collects the flags of applets and their subcommands. It keeps the first
// of several flags that share a name.
func AllFlags(list []Applet) []cli.Flag {
	return collectFlags(list, func(cli.Flag) bool { return true })
}

func collectFlags(list []Applet, wanted func(cli.Flag) bool) []cli.Flag {
	seen := map[string]bool{}
	taken := func(name string) bool { return seen[name] }
	var flags []cli.Flag
	var add func([]Applet)
	add = func(list []Applet) {
		for _, a := range list {
			for _, flag := range a.Flags {
				names := flag.Names()
				if !wanted(flag) || slices.ContainsFunc(names, taken) {
					continue
				}
				for _, name := range names {
					seen[name] = true
				}
				flags = append(flags, flag)
			}

			add(a.Applets)
		}
	}

	add(list)
	return flags
}
